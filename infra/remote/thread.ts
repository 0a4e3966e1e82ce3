import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import { messageOf, NoRoomError, UserError } from "../../core/errors.js";
import type { ObjectAccess } from "../bucket/objects.js";
import { PassingError, TIMING, withRetries } from "./retries.js";
import { journalLine, type Segment } from "./segments.js";
import { get, NoRangesError, type ByteRange, type WebAccess } from "./web.js";

/**
 * Entry of the threads that move and digest a download's bytes: what they do to disks blocks, and the main thread has
 * heartbeats to send. They are ended by terminating them: files and journal are right at every moment.
 */

/** Where a file's bytes come from. */
export type Source =
  /** address: for people */
  | { readonly kind: "web"; readonly access: WebAccess; readonly address: string }
  | {
      readonly kind: "bucket";
      readonly access: ObjectAccess;
      readonly address: string;
      readonly key: string;
      readonly etag: string | null;
    };

/** Brings what is missing of a segment into a partial file. */
export interface TransferJob {
  readonly source: Source;
  /** of the whole file */
  readonly bytes: number;
  readonly segment: Segment;
  readonly part: string;
  readonly journal: string;
}

/** Digests a file that may still grow. */
export interface DigestJob {
  readonly path: string;
  readonly bytes: number;
  /** besides sha256: of git's blob, or the MD5 */
  readonly also: "git" | "md5" | null;
}

/** What a thread is told; `upTo`: so many bytes of the file that `id` digests are there. */
export type Order = { readonly id: number } & (
  | { readonly transfer: TransferJob }
  | { readonly digest: DigestJob }
  | { readonly upTo: number }
);
/** What a thread says. */
export type Word = { readonly id: number } & (
  | { readonly done: number }
  | { readonly note: string }
  | { readonly finished: Digests | null }
  | { readonly failed: { readonly name: string; readonly message: string } }
);
/** Digests of a file, in hex. */
export interface Digests {
  readonly sha256: string;
  readonly also: string | null;
}

/** Bytes, or milliseconds, of a segment after which its progress is noted. */
const NOTE_BYTES = 2 ** 20;
const NOTE_MS = 50;
const SLICE = 2 ** 18;
/** Slices that are digested before orders are heard. */
const SLICES_A_TURN = 2;

const port = parentPort!;
const say = (word: Word): void => port.postMessage(word);
const followers = new Map<number, Follower>();
const never = new AbortController().signal;

async function transfer(id: number, job: TransferJob): Promise<void> {
  const part = openSync(job.part, "r+");
  const journal = openSync(job.journal, "a");
  try {
    await bring(id, job, part, journal);
  } finally {
    closeSync(part);
    closeSync(journal);
  }
}

async function bring(id: number, { source, bytes, segment }: TransferJob, part: number, journal: number): Promise<void> {
  const length = segment.end - segment.start;
  let noted = segment.done;
  let notedAt = -Infinity;
  const note = (): void => {
    if (segment.done === noted) return;
    writeSync(journal, journalLine(segment));
    say({ id, done: segment.done });
    noted = segment.done;
    notedAt = performance.now();
  };
  let ranges = true;
  let skip = 0;
  const consume = (sent: Uint8Array): void => {
    const chunk = sent.subarray(Math.min(skip, sent.length));
    skip -= sent.length - chunk.length;
    if (segment.done + chunk.length > length)
      throw new UserError("the server sent more bytes than it said", { source: source.address, expected: length });
    for (let at = 0; at < chunk.length;) at += writeSync(part, chunk, at, chunk.length - at, segment.start + segment.done + at);
    segment.done += chunk.length;
    if (segment.done - noted >= NOTE_BYTES || performance.now() - notedAt >= NOTE_MS) note();
  };
  const attempt = async (): Promise<void> => {
    // a whole file is asked for without a range: not every server knows them. Of such a one all has to come again
    const range = length === bytes && (segment.done === 0 || !ranges) ? null : { start: segment.start + segment.done, end: segment.end };
    skip = range === null ? segment.done : 0;
    try {
      await read(source, range, consume);
    } catch (error) {
      if (!(error instanceof NoRangesError) || length < bytes) throw error;
      ranges = false;
      return attempt();
    } finally {
      note();
    }
    if (segment.done < length) throw new PassingError(`the answer ended early: ${segment.done} of ${length} bytes of ${source.address}`);
  };
  const watch = { signal: never, onNote: (text: string) => say({ id, note: text }) };
  await withRetries(source.access.timing ?? TIMING, watch, () => segment.done, attempt);
}

async function read(source: Source, range: ByteRange | null, consume: (chunk: Uint8Array) => void): Promise<void> {
  if (source.kind === "web")
    return await get(source.access, source.address, range === null ? { large: true } : { range, large: true }, consume);
  // the SDK takes long to load, and most downloads need none
  const { readObject } = await import("../bucket/objects.js");
  await readObject(source, range, consume);
}

/** Digests a file as far as it is there, a few slices at a time. */
class Follower {
  private readonly id: number;
  private readonly job: DigestJob;
  private readonly sha256 = createHash("sha256");
  private readonly also: Hash | null;
  private readonly slice = Buffer.alloc(SLICE);
  private readonly file: number;
  private at = 0;
  private upTo = 0;
  private running = false;

  constructor(id: number, job: DigestJob) {
    this.id = id;
    this.job = job;
    this.file = openSync(job.path, "r");
    this.also = job.also === null ? null : createHash(job.also === "git" ? "sha1" : "md5");
    if (job.also === "git") this.also!.update(`blob ${job.bytes}\0`);
  }

  async follow(upTo: number): Promise<void> {
    this.upTo = upTo;
    if (this.running) return;
    this.running = true;
    for (let slices = 1; this.at < this.upTo; slices++) {
      const length = readSync(this.file, this.slice, 0, Math.min(SLICE, this.upTo - this.at), this.at);
      if (length === 0) throw new Error(`a file ended while it was digested [file=${this.job.path}, at=${this.at}]`);
      this.sha256.update(this.slice.subarray(0, length));
      this.also?.update(this.slice.subarray(0, length));
      this.at += length;
      if (slices % SLICES_A_TURN === 0) {
        say({ id: this.id, done: this.at });
        await turn();
      }
    }
    this.running = false;
    if (this.at < this.job.bytes) return;
    closeSync(this.file);
    followers.delete(this.id);
    say({ id: this.id, finished: { sha256: this.sha256.digest("hex"), also: this.also?.digest("hex") ?? null } });
  }
}

async function obey(order: Order): Promise<void> {
  if ("transfer" in order) {
    await transfer(order.id, order.transfer);
    say({ id: order.id, finished: null });
  } else if ("digest" in order) followers.set(order.id, new Follower(order.id, order.digest));
  else await followers.get(order.id)?.follow(order.upTo);
}

port.on("message", (order: Order) => {
  obey(order).catch((error: unknown) => {
    const full = ["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "") && "transfer" in order;
    const thrown = full
      ? new NoRoomError("the disk is full, or your quota of it: make room and start again, what was fetched is kept", {
          file: order.transfer.part,
          need: order.transfer.bytes,
        })
      : error;
    say({ id: order.id, failed: { name: thrown instanceof Error ? thrown.name : "Error", message: messageOf(thrown) } });
  });
});
