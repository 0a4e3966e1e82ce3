import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, UnreachableError } from "../../core/errors.js";

/** Patience, in milliseconds. */
export interface Timing {
  /** a request that brings no byte for so long is given up and made again */
  readonly stallMs: number;
  /** wait before the first retry; it doubles with each further one */
  readonly retryMs: number;
}

/** Patience with the real world. */
export const TIMING: Timing = { stallMs: 30_000, retryMs: 500 };
/** Failures in a row, without a byte of progress, after which a download ends. */
const MAX_FAILURES = 7;
const MAX_WAIT_MS = 300_000;

/** Whether an answer with this status may become another one by itself. Every other 4xx is final, and so are 501 and 505. */
export function isPassing(status: number): boolean {
  return [408, 425, 429].includes(status) || (status >= 500 && status !== 501 && status !== 505);
}

/** A failure after which another try may succeed, and how long the server asks us to wait before it. */
export class PassingError extends Error {
  readonly waitMs: number;
  constructor(message: string, waitMs = 0, options?: ErrorOptions) {
    super(message, options);
    this.waitMs = waitMs;
  }
}

/** Whether an error comes from the disk that bytes are written to: reading them again would not help. */
export function isOfDisk(error: unknown): boolean {
  const { syscall, code } = error as NodeJS.ErrnoException;
  return syscall === "write" && code !== "EPIPE" && code !== "ECONNRESET";
}

/** Stops a request, and hears how it goes. */
export interface Watch {
  readonly signal: AbortSignal;
  /** hears why the request is made again */
  onNote?(note: string): void;
}

/** Tries `work` until it succeeds, fails for good or makes no progress MAX_FAILURES times in a row: then UnreachableError. */
export async function withRetries<T>(
  timing: Timing,
  { signal, onNote }: Watch,
  progress: () => number,
  work: () => Promise<T>,
): Promise<T> {
  for (let failures = 0; ;) {
    const before = progress();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PassingError)) throw error;
      failures = progress() > before ? 1 : failures + 1;
      if (failures >= MAX_FAILURES)
        throw new UnreachableError(`the server does not answer as it should: ${messageOf(error)}`, { cause: error });
      const wait = Math.min(MAX_WAIT_MS, Math.max(error.waitMs, timing.retryMs * 2 ** (failures - 1)));
      onNote?.(`${messageOf(error)}; trying again in ${Math.ceil(wait / 1000)} s`);
      await sleep(wait, undefined, { signal });
    }
  }
}
