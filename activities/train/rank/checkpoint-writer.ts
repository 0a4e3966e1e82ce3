import { join } from "node:path";
import { writeSafetensors } from "../../../infra/weights/safetensors-writer.js";
import { shardFile } from "../log/checkpoint.js";
import type { ShardFile, TrainAttempt } from "../log/entries.js";
import type { EventOf } from "./computing.js";

/** Writes the shard files of one rank, one after the other, beside training. */
export class CheckpointWriter {
  /** tensors written so far: at the end of a run nothing else moves */
  moved = 0;
  private readonly attempt: Pick<TrainAttempt, "directory" | "generation">;
  private readonly keep: (file: string) => Promise<void>;
  private queue: Promise<void> = Promise.resolve();

  /** `keep` makes sure that a file which is written outlives this machine, where that is wanted. */
  constructor(attempt: Pick<TrainAttempt, "directory" | "generation">, keep: (file: string) => Promise<void>) {
    this.attempt = attempt;
    this.keep = keep;
  }

  /** Writes a shard's file after those before it; `failed` hears what went wrong, and the next ones are written all the same. */
  add(copy: EventOf<"shard">, written: (file: ShardFile) => void, failed: (error: Error) => void): void {
    this.queue = this.queue.then(async () => written(await this.write(copy))).catch((error: unknown) => failed(error as Error));
  }

  /** Resolves when nothing is being written any more. */
  idle(): Promise<void> {
    return this.queue;
  }

  private async write({ stepsDone, shard, tensors }: EventOf<"shard">): Promise<ShardFile> {
    const { directory, generation } = this.attempt;
    const file = shardFile(generation, stepsDone, shard);
    const byName = new Map(tensors.map(({ name, data }) => [name, data]));
    const bytesOf = (name: string): Uint8Array[] => {
      const data = byName.get(name)!;
      this.moved++;
      return [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
    };
    const specs = tensors.map(({ name, shape }) => ({ name, dtype: "F32" as const, shape }));
    const written = await writeSafetensors(join(directory, file), specs, bytesOf);
    await this.keep(file);
    return { shard, file, ...written };
  }
}
