import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import { messageOf, NoRoomError } from "../../core/errors.js";
import type { ObjectAccess } from "./objects.js";
import { BlockWriter, pages, PartFile, release, type Piece, type Progress } from "./block.js";
import { PassingError, TIMING, withRetries } from "../http/retries.js";
import { journalLine, reach, type Segment } from "./segments.js";
import { get, NoRangesError, type ByteRange, type WebAccess } from "../http/web.js";

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

/** Brings what is missing of consecutive segments into a partial file, with one request. */
export interface TransferJob {
  readonly source: Source;
  /** of the whole file */
  readonly bytes: number;
  readonly segments: readonly Segment[];
  /** whether all of the file before them is there */
  readonly inOrder: boolean;
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

/** What a thread is told; `upTo`: so many bytes of the file that `id` digests are there; `piece`: and these are in memory. */
export type Order = { readonly id: number } & (
  | { readonly transfer: TransferJob }
  | { readonly digest: DigestJob }
  | { readonly upTo: number; readonly piece: Piece | null }
);
/** What a thread says; `upTo` without more: of a digest. */
export type Word = { readonly id: number } & (
  | { readonly upTo: number }
  | Progress
  | { readonly note: string }
  | { readonly finished: Digests | null }
  | { readonly failed: { readonly name: string; readonly message: string } }
);
/** Digests of a file, in hex. */
export interface Digests {
  readonly sha256: string;
  readonly also: string | null;
}

const SLICE = 2 ** 18;
/** Slices that are digested before orders are heard. */
const SLICES_A_TURN = 2;

const port = parentPort!;
const say = (word: Word): void => port.postMessage(word);
const followers = new Map<number, Follower>();
const never = new AbortController().signal;

async function transfer(id: number, job: TransferJob): Promise<void> {
  const part = new PartFile(job.part);
  const journal = openSync(job.journal, "a");
  try {
    await bring(id, job, part, journal);
  } finally {
    part.close();
    closeSync(journal);
  }
}

async function bring(id: number, { source, bytes, segments, inOrder }: TransferJob, part: PartFile, journal: number): Promise<void> {
  const first = segments[0]!;
  const { end } = segments.at(-1)!;
  let at = first.start + first.done;
  const note = (progress: Progress): void => {
    const { upTo } = progress;
    at = upTo;
    writeSync(
      journal,
      reach(segments, upTo)
        .map((segment) => journalLine(segment))
        .join(""),
    );
    say({ id, ...progress });
  };
  const whole = first.start === 0 && end === bytes;
  let ranges = true;
  const attempt = async (): Promise<void> => {
    // what failed may have failed after the last byte
    if (at === end) return;
    // a whole file is asked for without a range: not every server knows them. Of such a one all has to come again
    const range = whole && (at === 0 || !ranges) ? null : { start: at, end };
    const writer = new BlockWriter(part, { start: at, end, skip: range === null ? at : 0, inOrder }, note);
    try {
      await read(source, range, writer);
    } catch (error) {
      if (!(error instanceof NoRangesError) || !whole) throw error;
      ranges = false;
      return await attempt();
    } finally {
      await writer.end();
    }
    if (at < end) throw new PassingError(`the answer ended early: ${at - first.start} of ${end - first.start} bytes of ${source.address}`);
  };
  const watch = { signal: never, onNote: (text: string) => say({ id, note: text }) };
  await withRetries(source.access.timing ?? TIMING, watch, () => at, attempt);
}

async function read(source: Source, range: ByteRange | null, writer: BlockWriter): Promise<void> {
  const consume = (chunk: Uint8Array): Promise<void> | undefined => writer.take(chunk, source.address);
  if (source.kind === "web") {
    await get(source.access, source.address, range === null ? { room: writer.room } : { range, room: writer.room }, consume);
    return;
  }
  // the SDK takes long to load, and most downloads need none
  const { readObject } = await import("./objects.js");
  await readObject(source, range, consume);
}

/** Digests a file as far as it is there, a few slices at a time: from memory where it came in order, else from the file. */
class Follower {
  private readonly id: number;
  private readonly job: DigestJob;
  private readonly sha256 = createHash("sha256");
  private readonly also: Hash | null;
  private readonly slice = pages(SLICE);
  private readonly file: number;
  private at = 0;
  private upTo = 0;
  private readonly pieces: Piece[] = [];
  private running = false;

  constructor(id: number, job: DigestJob) {
    this.id = id;
    this.job = job;
    this.file = openSync(job.path, "r");
    this.also = job.also === null ? null : createHash(job.also === "git" ? "sha1" : "md5");
    if (job.also === "git") this.also!.update(`blob ${job.bytes}\0`);
  }

  async follow(upTo: number, piece: Piece | null): Promise<void> {
    this.upTo = upTo;
    if (piece !== null) this.pieces.push(piece);
    if (this.running) return;
    this.running = true;
    for (let slices = 1; this.at < this.upTo || this.pieces[0]?.start === this.at; slices++) {
      const next = this.pieces[0]?.start === this.at ? this.pieces.shift()! : null;
      const bytes = next?.bytes ?? this.read(Math.min(SLICE, (this.pieces[0]?.start ?? this.upTo) - this.at));
      this.sha256.update(bytes);
      this.also?.update(bytes);
      this.at += bytes.length;
      if (next !== null) release(next);
      if (slices % SLICES_A_TURN === 0) {
        say({ id: this.id, upTo: this.at });
        await turn();
      }
    }
    this.running = false;
    say({ id: this.id, upTo: this.at });
    if (this.at < this.job.bytes) return;
    closeSync(this.file);
    followers.delete(this.id);
    say({ id: this.id, finished: { sha256: this.sha256.digest("hex"), also: this.also?.digest("hex") ?? null } });
  }

  private read(bytes: number): Uint8Array {
    const length = readSync(this.file, this.slice, 0, bytes, this.at);
    if (length === 0) throw new Error(`a file ended while it was digested [file=${this.job.path}, at=${this.at}]`);
    return this.slice.subarray(0, length);
  }
}

async function obey(order: Order): Promise<void> {
  if ("transfer" in order) {
    await transfer(order.id, order.transfer);
    say({ id: order.id, finished: null });
  } else if ("digest" in order) followers.set(order.id, new Follower(order.id, order.digest));
  else await followers.get(order.id)?.follow(order.upTo, order.piece);
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
