import type { Timing } from "../http/retries.js";
import type { ByteRange } from "../http/web.js";

/**
 * Where a file's bytes come from. A function cannot be sent to a thread, so a source names the module that reads it and
 * what that module needs to know: transfers know no protocol.
 */
export interface Source {
  /** URL of a module whose export `read` is a ReadBytes */
  readonly module: string;
  /** the first argument of `read`; it is sent to a thread */
  readonly place: unknown;
  /** for people */
  readonly address: string;
  /** patience with this source; undefined: TIMING */
  readonly timing: Timing | undefined;
}

/**
 * Reads a file, or a range of it, with one request. Throws PassingError if another try may succeed, and NoRangesError if
 * the source sends whole files only.
 */
export type ReadBytes<Place> = (place: Place, range: ByteRange | null, into: Receiver) => Promise<void>;

/** Takes a file's bytes. */
export interface Receiver {
  /** Takes the next chunk. If it returns a promise, the next one may come after that has resolved. */
  take(this: void, chunk: Uint8Array): void | Promise<void>;
  /** Gives the memory where the next bytes are best received; null: anywhere. */
  room(this: void): Uint8Array | null;
}
