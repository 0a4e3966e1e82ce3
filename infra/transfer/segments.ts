import { wholeLines } from "../disk/line-journal.js";
import type { ByteRange } from "../http/web.js";

/** How a file is fetched piece by piece, and what a journal says of earlier tries; pure. */

/** Bytes of one request: few, so that digesting keeps up; more for huge files, because hubs limit requests. */
const SEGMENT_BYTES = 16 * 2 ** 20;
const LARGE_SEGMENT_BYTES = 64 * 2 ** 20;
const LARGE_FILE_BYTES = 2 ** 33;

/** A piece of a file, and how much of it lies on disk. */
export interface Segment extends ByteRange {
  readonly index: number;
  /** bytes from `start` that are there */
  done: number;
}

/**
 * The segments of a file, with the progress in a journal's lines; lines that can't be read are ignored. After a restart of
 * the machine (`restarted`) only lines count that were written after the bytes had been forced to disk.
 */
export function planSegments(bytes: number, journal: string, restarted: boolean): Segment[] {
  const size = bytes > LARGE_FILE_BYTES ? LARGE_SEGMENT_BYTES : SEGMENT_BYTES;
  const segments = Array.from({ length: Math.ceil(bytes / size) }, (_, index): Segment => {
    const start = index * size;
    return { index, start, end: Math.min(bytes, start + size), done: 0 };
  });
  for (const line of wholeLines(journal)) {
    const match = /^(\d+) (\d+)( synced)?$/.exec(line);
    const segment = segments[Number(match?.[1] ?? -1)];
    const done = Number(match?.[2]);
    if (restarted && match?.[3] === undefined) continue;
    if (segment !== undefined && done <= segment.end - segment.start) segment.done = Math.max(segment.done, done);
  }
  return segments;
}

/** The journal's line about a segment. */
export function journalLine(segment: Pick<Segment, "index" | "done">, synced = false): string {
  return `${segment.index} ${segment.done}${synced ? " synced" : ""}\n`;
}

/** Notes that the bytes of consecutive segments are there up to `upTo`; returns the segments that grew. */
export function reach(segments: readonly Segment[], upTo: number): Segment[] {
  return segments.filter((segment) => {
    const done = Math.min(upTo, segment.end) - segment.start;
    const more = done > segment.done;
    if (more) segment.done = done;
    return more;
  });
}

/** Takes segments off `waiting` that one request can bring: the first, and up to `atMost` in all of those that follow it without a gap and are empty. */
export function takeRun(waiting: Segment[], atMost: number): Segment[] {
  const follows = waiting.findIndex(({ index, done }, at) => at > 0 && (index !== waiting[0]!.index + at || done > 0));
  return waiting.splice(0, Math.min(atMost, follows < 0 ? waiting.length : follows));
}

/** The bytes of all segments that are on disk. */
export function bytesDone(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.done, 0);
}

/** The bytes from the file's start that are on disk without a gap, and can be digested. */
export function bytesInOrder(segments: readonly Segment[]): number {
  const first = segments.find(({ start, end, done }) => start + done < end) ?? segments.at(-1);
  return first === undefined ? 0 : first.start + first.done;
}
