import { formatWithOptions } from "node:util";
import { CompleteAsyncError } from "@temporalio/activity";
import { ApplicationFailure, TemporalFailure } from "@temporalio/common";
import type { ActivityInterceptorsFactory, WorkerInterceptors } from "@temporalio/worker";
import { CHECKOUT, readEnvironment } from "./environment.js";
import { cleaned, scrubber, shortened, type Scrub } from "./scrub.js";

/** The doors by which words leave a worker: failures, heartbeats and the log. */

/** Characters of a failure's message, of its stack and of its details, for each of its causes. A failure above 2 MB never arrives, and the server waits for it in vain. */
const LENGTHS = { message: 8_000, stack: 8_000, details: 8_000, causes: 6 };
/** Characters of a heartbeat: the server keeps the last one of every activity and shows it in lists. */
const HEARTBEAT = 16_000;

let scrubOfProcess: Scrub | null = null;

/** Replaces the secrets of this process's environment, read when the first words leave. */
function scrub(text: string): string {
  scrubOfProcess ??= scrubber(process.env, [tokenOfHub()]);
  return scrubOfProcess(text);
}

function tokenOfHub(): string | null {
  try {
    return readEnvironment(process.env, CHECKOUT).hub.token;
  } catch {
    // no file of a token can be read, so no message can hold it
    return null;
  }
}

const factory: ActivityInterceptorsFactory = () => ({
  inbound: {
    execute: async (input, next) => {
      try {
        return await next(input);
      } catch (error) {
        throw error instanceof CompleteAsyncError ? error : outgoing(error, scrub);
      }
    },
  },
});

/** For Worker.create: what an activity fails with leaves short and without secrets. */
export const OUTGOING: WorkerInterceptors = { activity: [factory] };

/** The details of a heartbeat as they may leave: one that is too long becomes a text. */
export function outgoingDetails<T>(details: T): T {
  return cleaned(details, scrub, HEARTBEAT) as T;
}

/** The same error with a short message, stack and details without secrets, and so are its causes. Its class stays, because Temporal retries by it. */
export function outgoing(error: unknown, clean: Scrub): unknown {
  if (error instanceof Error && !Object.isExtensible(error))
    return Object.assign(new Error(shortened(clean(error.message), LENGTHS.message)), { name: error.name });
  let depth = 0;
  for (let at: unknown = error; at instanceof Error && depth < LENGTHS.causes; at = at.cause, depth++) {
    const thrown: Error = at;
    const text = (name: "message" | "stack", value: string): void => replace(thrown, name, shortened(clean(value), LENGTHS[name]));
    const { message, stack } = at;
    text("message", message);
    if (stack !== undefined) text("stack", stack);
    if (at instanceof ApplicationFailure && at.details != null)
      replace(
        at,
        "details",
        at.details.map((detail) => cleaned(detail, clean, LENGTHS.details / at.details!.length)),
      );
    // what the server sent is sent back as it came, instead of what was changed here
    if (at instanceof TemporalFailure) replace(at, "failure", undefined);
    if (depth === LENGTHS.causes - 1 || !(at.cause instanceof Error)) {
      if (at.cause !== undefined) replace(at, "cause", undefined);
      break;
    }
  }
  return error instanceof Error ? error : new Error(shortened(clean(String(error)), LENGTHS.message));
}

function replace(error: Error, name: string, value: unknown): void {
  Reflect.defineProperty(error, name, { value, writable: true, configurable: true, enumerable: false });
}

/** Makes this process write its log without secrets, whatever it writes. */
export function scrubLog(): void {
  const write = console.error.bind(console);
  console.error = (...words: readonly unknown[]): void => write(scrub(formatWithOptions({ depth: 6 }, ...words)));
}
