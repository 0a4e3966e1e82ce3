import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../../core/errors.js";
import type { ObjectStore } from "./store.js";

/**
 * An object that is written and removed to see whether that works. Every run uses the same name: a policy can name it, and a
 * run removes what a killed one left without the right to list objects. So runs remove and replace each other's, and a verdict
 * needs several tries that agree.
 */
export const PROBE = ".roslin-may-write";
export const PROBE_BYTES: Buffer = Buffer.from("a check by roslin\n");

const TRIES = 10;
/** Bound of a random wait in milliseconds, times the tries so far: runs that collide get out of each other's way. */
const WAIT_MS = 100;

/** What `judge` finds; if it throws, it is asked again after `prepare`, because another run may have been in the way, unless the error is final. */
export async function settled<T>(
  signal: AbortSignal,
  prepare: () => Promise<unknown>,
  judge: () => Promise<T>,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await judge();
    } catch (error) {
      signal.throwIfAborted();
      if (tried === TRIES || isFinal(error)) throw error;
    }
    await sleep(Math.random() * WAIT_MS * tried, undefined, { signal });
    await prepare();
  }
}

/** Throws UserError unless a store gave back the probe as it was written, and refuses to create it again. */
export async function judgeProbe(store: ObjectStore, back: Buffer | null): Promise<void> {
  const target = store.uri;
  if (back === null || !PROBE_BYTES.equals(back))
    throw new UserError("the target gives back other bytes than it was given: check that AWS_ENDPOINT_URL_S3 names an S3 server", {
      target,
    });
  // nothing else keeps two runs from undoing each other's latest.json
  if (await store.create(PROBE, PROBE_BYTES))
    throw new UserError(
      "the server overwrites an object that it was told to keep: publishing needs conditional writes (If-None-Match, If-Match); update the server, or publish to another",
      { target, condition: "If-None-Match" },
    );
}
