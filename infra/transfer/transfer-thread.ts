import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { NoRoomError } from "../../core/errors.js";
import { PassingError, TIMING, withRetries } from "../http/retries.js";
import { NoRangesError } from "../http/web.js";
import { serve } from "../process/thread.js";
import { BlockWriter, pages, PartFile, release, type Piece, type Progress } from "./block-writer.js";
import { journalLine, reach, type Segment } from "./segments.js";
import type { ReadBytes, Source } from "./source.js";

/**
 * Entry of the threads that move and digest a download's bytes: work on disks blocks a thread, and the main one has
 * heartbeats to send. They are ended by terminating them: files and journal are right at every moment.
 */

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

/** What a thread is asked to do. `digest`: a number by which the owner tells how much of the file is there. */
export type Job = { readonly transfer: TransferJob } | { readonly digest: number; readonly job: DigestJob };
/** What a thread is told: so many bytes of the file that it digests are there; `piece`: and these are in memory. */
export interface Arrived {
  readonly digest: number;
  readonly upTo: number;
  readonly piece: Piece | null;
}
/** What a thread says before it is done; `upTo` without more: bytes digested. */
export type News = { readonly upTo: number } | Progress | { readonly note: string };
/** Digests of a file, in hex. */
export interface Digests {
  readonly sha256: string;
  readonly also: string | null;
}

const SLICE = 2 ** 18;
/** Slices that are digested before orders are heard. */
const SLICES_A_TURN = 2;

const followers = new Map<number, Follower>();
const never = new AbortController().signal;

type Say = (news: News) => void;

async function transfer(job: TransferJob, say: Say): Promise<void> {
  const part = new PartFile(job.part);
  const journal = openSync(job.journal, "a");
  try {
    await bring(job, part, journal, say);
  } finally {
    part.close();
    closeSync(journal);
  }
}

async function bring({ source, bytes, segments, inOrder }: TransferJob, part: PartFile, journal: number, say: Say): Promise<void> {
  const { read } = (await import(source.module)) as { readonly read: ReadBytes<unknown> };
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
    say(progress);
  };
  const whole = first.start === 0 && end === bytes;
  let ranges = true;
  const attempt = async (): Promise<void> => {
    // the last try may have failed after the last byte
    if (at === end) return;
    // a whole file is asked for without a range, because not every server knows ranges; without them all has to come again
    const range = whole && (at === 0 || !ranges) ? null : { start: at, end };
    const writer = new BlockWriter(part, { start: at, end, skip: range === null ? at : 0, inOrder }, note);
    try {
      await read(source.place, range, { room: writer.room, take: (chunk) => writer.take(chunk, source.address) });
    } catch (error) {
      if (!(error instanceof NoRangesError) || !whole) throw error;
      ranges = false;
      return await attempt();
    } finally {
      await writer.end();
    }
    if (at < end) throw new PassingError(`the answer ended early: ${at - first.start} of ${end - first.start} bytes of ${source.address}`);
  };
  const watch = { signal: never, onNote: (note: string) => say({ note }) };
  await withRetries(source.timing ?? TIMING, watch, () => at, attempt);
}

/** Digests a file as far as it is there, a few slices at a time: from memory where it came in order, else from the file. */
class Follower {
  private readonly job: DigestJob;
  private readonly say: Say;
  private readonly done: (digests: Digests) => void;
  private readonly failed: (error: unknown) => void;
  private readonly sha256 = createHash("sha256");
  private readonly also: Hash | null;
  private readonly slice = pages(SLICE);
  private readonly file: number;
  private at = 0;
  private upTo = 0;
  private readonly pieces: Piece[] = [];
  private running = false;

  constructor(job: DigestJob, say: Say, done: (digests: Digests) => void, failed: (error: unknown) => void) {
    this.job = job;
    this.say = say;
    this.done = done;
    this.failed = failed;
    this.file = openSync(job.path, "r");
    this.also = job.also === null ? null : createHash(job.also === "git" ? "sha1" : "md5");
    if (job.also === "git") this.also!.update(`blob ${job.bytes}\0`);
  }

  follow({ upTo, piece }: Arrived): void {
    this.upTo = upTo;
    if (piece !== null) this.pieces.push(piece);
    if (!this.running) this.run().catch(this.failed);
  }

  private async run(): Promise<void> {
    this.running = true;
    for (let slices = 1; this.at < this.upTo || this.pieces[0]?.start === this.at; slices++) {
      const next = this.pieces[0]?.start === this.at ? this.pieces.shift()! : null;
      // a piece may be told of before the bytes ahead of it are written
      const end = Math.min(this.upTo, this.pieces[0]?.start ?? Infinity);
      const bytes = next?.bytes ?? this.read(Math.min(SLICE, end - this.at));
      this.sha256.update(bytes);
      this.also?.update(bytes);
      this.at += bytes.length;
      if (next !== null) release(next);
      if (slices % SLICES_A_TURN === 0) {
        this.say({ upTo: this.at });
        await turn();
      }
    }
    this.running = false;
    this.say({ upTo: this.at });
    if (this.at < this.job.bytes) return;
    closeSync(this.file);
    this.done({ sha256: this.sha256.digest("hex"), also: this.also?.digest("hex") ?? null });
  }

  private read(bytes: number): Uint8Array {
    const length = readSync(this.file, this.slice, 0, bytes, this.at);
    if (length === 0) throw new Error(`a file ended while it was digested [file=${this.job.path}, at=${this.at}]`);
    return this.slice.subarray(0, length);
  }
}

async function digest(number: number, job: DigestJob, say: Say): Promise<Digests> {
  try {
    return await new Promise((resolve, reject) => void followers.set(number, new Follower(job, say, resolve, reject)));
  } finally {
    followers.delete(number);
  }
}

async function work(asked: Job, say: Say): Promise<Digests | null> {
  if ("digest" in asked) return await digest(asked.digest, asked.job, say);
  const { part, bytes } = asked.transfer;
  try {
    await transfer(asked.transfer, say);
    return null;
  } catch (error) {
    if (!["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    throw new NoRoomError("the disk is full, or your quota of it: make room and start again; what was fetched is kept", {
      file: part,
      need: bytes,
    });
  }
}

serve(work, (arrived: Arrived) => followers.get(arrived.digest)?.follow(arrived));
