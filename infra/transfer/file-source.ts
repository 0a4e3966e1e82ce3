import { createReadStream } from "node:fs";
import { pathToFileURL } from "node:url";
import type { ReadBytes, Source } from "./source.js";

/** The source of a file on a disk that several machines share. */
export function fileSource(path: string): Source {
  return { module: import.meta.url, place: path, address: pathToFileURL(path).href, timing: undefined };
}

/** Reads a file, or a range of it. */
export const read: ReadBytes<string> = async (path, range, { take }) => {
  const part = range === null ? {} : { start: range.start, end: range.end - 1 };
  for await (const chunk of createReadStream(path, { ...part, highWaterMark: 1 << 20 })) await take(chunk as Buffer);
};
