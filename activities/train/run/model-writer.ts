import { createHash } from "node:crypto";
import { join } from "node:path";
import { UserError } from "../../../core/errors.js";
import type { DType } from "../../../core/format/safetensors.js";
import { elements, indexIn } from "../../../core/graph/tensor.js";
import { MOMENTS, sliceOf } from "../../../core/training/slices.js";
import { writeFileAtomic } from "../../../infra/disk/files.js";
import { SafetensorsFile } from "../../../infra/weights/model-files.js";
import { bytesOf, narrowed } from "../../../infra/weights/narrow.js";
import { writeSafetensors } from "../../../infra/weights/safetensors-writer.js";
import type { CheckpointEntry } from "../log/entries.js";
import type { WeightPlan } from "../../../core/format/weight-files.js";

/** Elements read and converted at a time. */
const CHUNK = 1 << 20;

/** What a model's weights are written from and to. */
export interface ModelWriterOptions {
  /** the stage's directory, where the checkpoint's shards lie */
  readonly directory: string;
  /** the model's directory, and what lies in it */
  readonly target: string;
  readonly plan: WeightPlan;
  /** of the written weights */
  readonly dtype: DType;
  say(note: string): void;
  /** gives the event loop its turn; throws when the work is to stop */
  turn(): Promise<void>;
}

/** Writes the weights of a checkpoint as a model's files. */
export class ModelWriter {
  private readonly options: ModelWriterOptions;
  private readonly shapes: ReadonlyMap<string, readonly number[]>;

  constructor(options: ModelWriterOptions) {
    this.options = options;
    this.shapes = new Map(options.plan.files.flatMap(({ weights }) => weights.map(({ name, shape }) => [name, shape] as const)));
  }

  /** Writes the weights; returns the `stateDigest`: that of weights, moments and the count of steps. */
  async write(entry: CheckpointEntry): Promise<string> {
    const { directory, target, plan, dtype } = this.options;
    const shards = entry.shards.map(({ file }) => new SafetensorsFile(join(directory, file)));
    const digest = createHash("sha256");
    try {
      // one dtype, so tensors are asked for in the order of their names: that of the digest
      for (const { name: file, weights } of plan.files) {
        const tensors = weights.map(({ name, shape }) => ({ name, dtype, shape }));
        await writeSafetensors(join(target, file), tensors, (name) => this.tensorBytes(name, shards, (part) => digest.update(part)));
      }
      if (plan.index !== null) await writeFileAtomic(join(target, plan.index.name), plan.index.text);
    } finally {
      for (const shard of shards) shard.close();
    }
    const step = Buffer.alloc(8);
    step.writeBigUInt64LE(BigInt(entry.step));
    return digest.update(step).digest("hex");
  }

  /** A weight's bytes in the model's dtype; `read` is handed those of the weight and of its moments, as the checkpoint holds them. */
  private async *tensorBytes(
    name: string,
    shards: readonly SafetensorsFile[],
    read: (bytes: Uint8Array) => void,
  ): AsyncIterable<Uint8Array> {
    const { dtype, say, turn } = this.options;
    const shape = this.shapes.get(name)!;
    say(`writing ${name}`);
    let first = 0;
    for (const suffix of MOMENTS)
      for (const part of slices(shards, name + suffix, shape)) {
        read(bytesOf(part));
        if (suffix === "") {
          yield narrowed(part, dtype, (at) => overflow(dtype, name, indexIn(shape, first + at), part[at]!));
          first += part.length;
        }
        // nothing waits for moments, which are only read: gigabytes of them would cost a heartbeat
        await turn();
      }
  }
}

/** A tensor's elements in order, from the shards that own its slices. */
function* slices(shards: readonly SafetensorsFile[], name: string, shape: readonly number[]): Iterable<Float32Array> {
  const rowSize = elements(shape.slice(1));
  for (const [shard, file] of shards.entries()) {
    const { start, end } = sliceOf(shape[0]!, shards.length, shard);
    const count = (end - start) * rowSize;
    for (let first = 0; first < count; first += CHUNK) {
      const part = new Float32Array(Math.min(CHUNK, count - first));
      file.readFloats(name, first, part);
      yield part;
    }
  }
}

/** The trained weights stay in the checkpoint; a model with an infinite weight would answer nonsense to everything. */
function overflow(dtype: DType, tensor: string, index: string, got: number): UserError {
  return new UserError(
    `a trained weight is not finite in the model's own dtype, ${dtype}: lower train.learningRate, or begin with the base model in another dtype`,
    { tensor, index, got },
  );
}
