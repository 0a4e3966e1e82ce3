import { fetchBlob, type WantedBlob } from "./blob.js";
import { Crew } from "./crew.js";

/** Files that are fetched at the same time: with many small ones, most of the time is spent waiting. */
const FILES_AT_A_TIME = 4;

/** A file that lies in a cache. */
export interface CachedFile {
  /** path in the place */
  readonly path: string;
  /** the file that is named by its digest */
  readonly blob: string;
  readonly bytes: number;
  readonly sha256: string;
  /** bytes that came over the wire just now */
  readonly fetched: number;
}

/** What happens while files are fetched. */
export interface FetchEvents {
  readonly signal: AbortSignal;
  /** how many of the files' bytes lie on disk now */
  onBytes(done: number): void;
  onNote(note: string): void;
}

/** Brings files into a cache, several at a time; `arrived` hears of each by its index when it is there, digest checked. */
export async function fetchAll(
  wanted: readonly WantedBlob[],
  events: FetchEvents,
  arrived: (index: number) => Promise<void> = () => Promise.resolve(),
): Promise<CachedFile[]> {
  const cached: CachedFile[] = [];
  const done: number[] = wanted.map(() => 0);
  const failed = new AbortController();
  const signal = AbortSignal.any([events.signal, failed.signal]);
  const crew = new Crew(signal);
  const waiting = [...wanted.entries()];
  const fetchNext = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, file] = next;
      const onBytes = (bytes: number): void => {
        done[index] = bytes;
        events.onBytes(done.reduce((sum, each) => sum + each, 0));
      };
      const { sha256, fetched } = await fetchBlob(crew, file, { signal, onBytes, onNote: (note) => events.onNote(note) });
      await arrived(index);
      cached[index] = { path: file.name, blob: file.blob, bytes: file.bytes, sha256, fetched };
    }
  };
  try {
    // all have released their locks before the first failure is thrown
    const settled = await Promise.allSettled(
      Array.from({ length: FILES_AT_A_TIME }, () =>
        fetchNext().catch((error: unknown) => {
          failed.abort(error);
          throw error;
        }),
      ),
    );
    events.signal.throwIfAborted();
    failed.signal.throwIfAborted();
    for (const result of settled) if (result.status === "rejected") throw result.reason;
    return cached;
  } finally {
    await crew.close();
  }
}
