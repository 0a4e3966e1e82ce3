import { setTimeout as sleep } from "node:timers/promises";
import { CorruptError, messageOf, UserError } from "../../core/errors.js";
import { readAll, type ObjectStore } from "./store.js";

/** Milliseconds before a call is made again; they double up to the longest. */
const WAIT_MS = { first: 500, longest: 30_000 };

/**
 * Makes a call again for as long as the place that it goes to cannot answer, until the signal aborts: an outage stops no
 * training. `say` hears of every failure. What no other try can help, such as missing rights, is thrown at once.
 */
export async function patiently<T>(
  signal: AbortSignal,
  say: (note: string) => void,
  call: (isRepeated: boolean) => Promise<T>,
): Promise<T> {
  for (let waitMs = WAIT_MS.first, isRepeated = false; ; waitMs = Math.min(2 * waitMs, WAIT_MS.longest), isRepeated = true) {
    try {
      return await call(isRepeated);
    } catch (error) {
      signal.throwIfAborted();
      if (!canPass(error)) throw error;
      say(`${messageOf(error)}; trying again in ${Math.ceil(waitMs / 1000)} s`);
      await sleep(waitMs, undefined, { signal });
    }
  }
}

/** The store at `uri`, which the first call opens, and whose calls are made patiently. */
export function patientStore(uri: string, open: () => Promise<ObjectStore>, signal: AbortSignal, say: (note: string) => void): ObjectStore {
  let opened: Promise<ObjectStore> | null = null;
  const again = <T>(call: (store: ObjectStore, isRepeated: boolean) => Promise<T>): Promise<T> =>
    patiently(signal, say, async (isRepeated) => {
      opened ??= open();
      // a failure to open it is not kept
      opened.catch(() => (opened = null));
      return await call(await opened, isRepeated);
    });
  return {
    uri,
    read: (key, range) => again((store) => store.read(key, range)),
    write: (key, bytes) => again((store) => store.write(key, bytes)),
    create: (key, bytes) =>
      again(async (store, isRepeated) => {
        if (await store.create(key, bytes)) return true;
        // the answer to an earlier try may have been lost
        return isRepeated && (await readAll(store, key))?.equals(bytes) === true;
      }),
    replace: (key, bytes, before) =>
      again(async (store, isRepeated) => {
        if (await store.replace(key, bytes, before)) return true;
        return isRepeated && (await readAll(store, key))?.equals(bytes) === true;
      }),
    putFile: (key, path, upload) => again((store) => store.putFile(key, path, upload)),
    discard: (journal) => again((store) => store.discard(journal)),
    seal: (key) => again((store) => store.seal(key)),
    list: (prefix) => again((store) => store.list(prefix)),
    delete: (key) => again((store) => store.delete(key)),
  };
}

/** Whether time may help: not where a user has to do something, bytes are wrong, or this machine's disk fails. */
function canPass(error: unknown): boolean {
  if (error instanceof UserError || error instanceof CorruptError || !(error instanceof Error)) return false;
  const { syscall, code } = error as NodeJS.ErrnoException;
  return syscall === undefined && code === undefined && error.name !== "AbortError";
}
