import { createReadStream, statSync } from "node:fs";
import { UserError } from "../../core/errors.js";
import { contentOf, HEAD_BYTES, refuseUnreadable } from "./content.js";
import { gunzip } from "./gunzip.js";
import { unzstd } from "./zstd.js";

/** Compressions one inside another that are unpacked: a .gz file that a server compressed once more, and one to spare. */
const MAX_LAYERS = 3;

/** How much of a file has been read, 0 to 1. */
export interface Progress {
  read: number;
}

/**
 * The bytes of a text file, unpacked if they are gzip or zstd, whatever the file's name. Throws UserError naming the file and
 * what it is if it is not text, or if its compressed data is damaged.
 */
export async function* readText(path: string, signal: AbortSignal, progress: Progress = { read: 0 }): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  const size = Math.max(1, statSync(path).size);
  async function* counted(): AsyncGenerator<Uint8Array> {
    let done = 0;
    for await (const chunk of file) {
      signal.throwIfAborted();
      done += (chunk as Uint8Array).length;
      progress.read = Math.min(1, done / size);
      yield chunk as Uint8Array;
    }
  }
  try {
    yield* unpack(counted(), path, signal);
    progress.read = 1;
  } finally {
    file.destroy();
  }
}

/** Unpacks `source` as long as it is compressed; `layers` it was already unpacked from. */
async function* unpack(
  source: AsyncGenerator<Uint8Array>,
  path: string,
  signal: AbortSignal,
  layers: readonly string[] = [],
): AsyncGenerator<Uint8Array> {
  try {
    const head = await headOf(source);
    async function* whole(): AsyncGenerator<Uint8Array> {
      if (head.length > 0) yield head;
      yield* source;
    }
    const content = contentOf(head);
    const outer = layers.at(-1);
    refuseUnreadable(content, head, path, outer);
    if (content.kind === "text") return yield* whole();
    if (content.kind === "parquet" || content.kind === "arrow") {
      const name = content.kind === "parquet" ? "a Parquet" : "an Arrow";
      throw new UserError(`a data file is ${name} file inside ${outer}: unpack it, because it compresses its own columns`, { file: path });
    }
    if (layers.length === MAX_LAYERS)
      throw new UserError("a data file is compressed again and again: unpack it", { file: path, got: layers.join(", ") });
    const unpacked = content.kind === "gzip" ? gunzip(whole(), path) : unzstd(whole(), path, signal);
    yield* unpack(unpacked, path, signal, [...layers, content.kind]);
  } finally {
    // it may have begun without having been asked for all
    await source.return(undefined);
  }
}

async function headOf(source: AsyncGenerator<Uint8Array>): Promise<Uint8Array> {
  const begin: Uint8Array[] = [];
  for (let bytes = 0; bytes < HEAD_BYTES;) {
    const next = await source.next();
    if (next.done === true) break;
    begin.push(next.value);
    bytes += next.value.length;
  }
  return begin.length === 1 ? begin[0]! : Buffer.concat(begin);
}
