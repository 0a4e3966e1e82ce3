import { createHash, randomUUID } from "node:crypto";
import { FencedError } from "../../../core/errors.js";
import type { ObjectStore } from "../../../infra/store/store.js";
import type { LogEntry, LostEntry } from "./entries.js";

/**
 * The fence: one numbered list of commits, each created exclusively. A writer only tries the number after
 * the last it has seen, so a writer that a newer attempt has overtaken loses, whatever it believes.
 */

type Unsigned<Entry> = Entry extends LogEntry ? Omit<Entry, "nonce" | "time"> : never;
/** An entry before the log signs it. */
export type NewEntry = Unsigned<Exclude<LogEntry, LostEntry>>;

/** A run's log as one writer sees it. */
export interface CommitLog {
  /** entry n has number n + 1 */
  readonly entries: readonly LogEntry[];
  /** there are entries beyond the number up to which it was read */
  readonly overtaken: boolean;
  /** Adds the next entry and returns its number. Throws FencedError when another was there first. */
  append(entry: NewEntry): Promise<number>;
}

function key(number: number): string {
  return `commits/${String(number).padStart(6, "0")}.json`;
}

/** Reads a run's log; `upTo` stops at that number, which is how an attempt sees nothing newer than itself. */
export async function openLog(store: ObjectStore, upTo: number = Infinity): Promise<CommitLog> {
  const entries: LogEntry[] = [];
  const listed = await store.list("commits/");
  const numbers = listed
    .map((object) => Number(/^commits\/(\d+)\.json$/.exec(object.key)?.[1] ?? NaN))
    .filter(Number.isInteger)
    .sort((a, b) => a - b);
  for (const number of numbers.filter((each) => each <= upTo)) {
    while (entries.length + 1 < number) entries.push({ kind: "lost", reason: "it is gone" });
    entries.push(await readEntry(store, number));
  }
  // nonces of this number's entries: one whose writing failed may have arrived all the same
  const tried = new Set<string>();
  const append = async (entry: NewEntry): Promise<number> => {
    const number = entries.length + 1;
    const signed = { ...entry, nonce: randomUUID(), time: new Date().toISOString() } as Exclude<LogEntry, LostEntry>;
    tried.add(signed.nonce);
    const isNew = await store.create(key(number), new TextEncoder().encode(sealed(signed)));
    const there = isNew ? signed : tried.size > 1 ? await readEntry(store, number) : null;
    if (there === null || there.kind === "lost" || !tried.has(there.nonce))
      throw new FencedError("a newer attempt of this run has taken over; this one stops", { log: store.uri, commit: number });
    tried.clear();
    entries.push(there);
    return there === signed ? number : append(entry);
  };
  return { entries, overtaken: (numbers.at(-1) ?? 0) > upTo, append };
}

/** An entry's JSON with the digest of the rest, so that a changed byte shows. */
function sealed(entry: LogEntry): string {
  return JSON.stringify({ ...entry, sha256: digest(entry) });
}

function digest(entry: object): string {
  return createHash("sha256").update(JSON.stringify(entry)).digest("hex");
}

async function readEntry(store: ObjectStore, number: number): Promise<LogEntry> {
  const chunks = await store.read(key(number));
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks ?? []) parts.push(chunk);
  try {
    const { sha256, ...entry } = JSON.parse(Buffer.concat(parts).toString("utf8")) as LogEntry & { readonly sha256?: string };
    // an entry from before there were digests has none
    if (sha256 === undefined || sha256 === digest(entry)) return entry;
    return { kind: "lost", reason: "it does not have its digest" };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { kind: "lost", reason: "it is torn" };
  }
}
