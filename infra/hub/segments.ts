import type { ByteRange } from "./request.js";

/** How a file is fetched piece by piece, and what a journal says was fetched before; pure. */

/** Bytes of one request: large enough that 24 GB stay within the hub's limit of requests. */
const SEGMENT_BYTES = 64 * 2 ** 20;

/** A piece of a file, and how much of it lies on disk. */
export interface Segment extends ByteRange {
  readonly index: number;
  /** bytes from `start` that are there */
  done: number;
}

/** The segments of a file, with the progress that a journal's lines tell; lines that make no sense are ignored. */
export function planSegments(bytes: number, journal: string): Segment[] {
  const segments = Array.from({ length: Math.ceil(bytes / SEGMENT_BYTES) }, (_, index): Segment => {
    const start = index * SEGMENT_BYTES;
    return { index, start, end: Math.min(bytes, start + SEGMENT_BYTES), done: 0 };
  });
  // a line counts only with its end: the last one may be torn
  for (const line of journal.split("\n").slice(0, -1)) {
    const match = /^(\d+) (\d+)$/.exec(line);
    const segment = segments[Number(match?.[1] ?? -1)];
    const done = Number(match?.[2]);
    if (segment !== undefined && done <= segment.end - segment.start) segment.done = Math.max(segment.done, done);
  }
  return segments;
}

/** The journal's line about a segment. */
export function journalLine(segment: Segment): string {
  return `${segment.index} ${segment.done}\n`;
}

/** Bytes of all segments that are there. */
export function bytesDone(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.done, 0);
}
