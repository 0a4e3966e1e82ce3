import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { modelOf } from "../../core/model/families.js";
import { sharedLayout } from "../../engines/onnx/layout.js";
import { sliceOf } from "../../core/training/slices.js";
import { CONFIG, SHARDS } from "./job.js";

/** The weights that the workers of an attempt share, read from outside. The file is opened by its name while it has one. */

/** Milliseconds of looking without a break; an update takes a few. */
const STARE_MS = 250;
/** Looks after which a step should have ended, or its workers. */
const LOOKS = 20;

/** Byte offset in the file of the first or last word of a shard's slice of a tensor. Weights come first, so other sizes do not matter. */
function placeOf(name: string, rows: number, shard: number, which: "first" | "last"): number {
  const layout = sharedLayout(modelOf(CONFIG, "the job's model"), SHARDS, { tokens: 1, positions: 1 });
  const { offset, elements } = layout.weights.get(name)!;
  const { start, end } = sliceOf(rows, SHARDS, shard);
  const row = elements / rows;
  return offset + 4 * (which === "first" ? start * row : end * row - 1);
}

/** One attempt's weights. */
export class SharedWeights {
  private readonly file: number;
  private closed = false;

  /** Opens a file of /dev/shm. Throws when it has lost its name. */
  constructor(name: string) {
    this.file = openSync(join("/dev/shm", name), "r");
  }

  close(): void {
    this.closed = true;
    closeSync(this.file);
  }

  /** Calls `strike` while the optimizer is between a shard's first block and the end of its head. Resolves to false if nothing changes. */
  async amidUpdate(shard: number, limit: number, strike: () => void): Promise<boolean> {
    const first = placeOf("transformer.h.0.attn.q_proj.weight", CONFIG.n_embd, shard, "first");
    const last = placeOf("lm_head.bias", CONFIG.vocab_size, shard, "last");
    // the view closes this file when it sees another attempt's
    for (let looks = 0; Date.now() < limit && !this.closed && looks < LOOKS; looks++) {
      const [begun, ended] = [this.word(first), this.word(last)];
      for (const until = Date.now() + STARE_MS; Date.now() < until;) {
        if (this.word(first) === begun) continue;
        if (this.word(last) !== ended) break;
        strike();
        return true;
      }
      await sleep(1);
    }
    return false;
  }

  private word(offset: number): number {
    const bytes = Buffer.alloc(4);
    readSync(this.file, bytes, 0, 4, offset);
    return bytes.readUInt32LE();
  }
}
