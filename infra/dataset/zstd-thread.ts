import { workerData } from "node:worker_threads";
import { messageOf, UserError } from "../../core/errors.js";
import { serve } from "../process/thread.js";
import type { ZstdAnswer, ZstdQuestion } from "./zstd.js";
import { ZstdFrames } from "./zstd-frames.js";

/** Entry of the thread that unpacks Zstandard. */

/** About as many bytes go into one answer. */
const ANSWER_BYTES = 1 << 20;
const file = workerData as string;
const frames = new ZstdFrames();

serve(async ({ input, end }: ZstdQuestion): Promise<ZstdAnswer> => {
  try {
    if (input !== null) frames.push(input);
    const pieces: Uint8Array[] = [];
    for (let made = 0; made < ANSWER_BYTES;) {
      const piece = frames.pull();
      if (piece === null) {
        if (end) frames.end();
        return { output: Buffer.concat(pieces), more: false };
      }
      pieces.push(piece);
      made += piece.length;
    }
    return { output: Buffer.concat(pieces), more: true };
  } catch (error) {
    const cut = messageOf(error).toLowerCase().includes("unexpected eof") || messageOf(error).includes("unexpected end");
    throw new UserError(`a data file's zstd data is ${cut ? "cut" : "damaged"}: download or make the file again`, {
      file,
      why: messageOf(error),
    });
  }
});
