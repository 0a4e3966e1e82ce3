import { mkdir, open, readFile, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { uptime } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../../core/errors.js";
import { syncDirectory, writeFileAtomic } from "../disk/files.js";
import { endTornLine } from "../disk/line-journal.js";
import { lock } from "../disk/lock.js";
import type { Piece, Progress } from "./block-writer.js";
import type { Crew, Digesting } from "./crew.js";
import { bytesDone, bytesInOrder, journalLine, planSegments, reach, takeRun, type Segment } from "./segments.js";
import type { Source } from "./source.js";
import type { DigestJob } from "./transfer-thread.js";

/** Requests under way at a time, of one file, at most. */
const PARALLEL = 8;
/**
 * Milliseconds of a tick. A file begins with one request, whose bytes come in order and are digested from memory. If it
 * brings less than 250 MB/s for some ticks, as distant servers do, there are twice as many requests, and so on.
 */
const TICK_MS = 100;
const ENOUGH_A_TICK = 25e6;
const SLOW_TICKS = 3;
/** Bytes that may wait for the digest while the rest still counts as coming in order; what an earlier process fetched is digested first. */
const NEAR = 2 ** 26;
/** Segments that one request brings at most, if it is the only request. */
const LONGEST_RUN = 16;
/** Milliseconds between two times that new bytes are forced to disk: then they count even after a power cut, and little is left at the end. */
const SYNC_MS = 200;

/** A file that a cache is to hold. */
export interface WantedBlob {
  /** for people */
  readonly name: string;
  /** where it will lie */
  readonly blob: string;
  readonly bytes: number;
  readonly source: Source;
  /** the digest that its bytes must have; null: none is known, so only their number and later changes are checked */
  readonly digest: { readonly kind: "sha256" | "git" | "md5"; readonly hex: string } | null;
}

/** What happens while a file is fetched. */
export interface BlobEvents {
  readonly signal: AbortSignal;
  /** how many of the file's bytes lie on disk now */
  onBytes(done: number): void;
  onNote(note: string): void;
}

/** Names beside a blob; never `.incomplete`, to which other clients append. */
const partOf = (blob: string): string => `${blob}.part`;
const journalOf = (blob: string): string => `${blob}.part.journal`;
/** The sha256 that bytes had when they came, if their source states no digest. */
const digestOf = (blob: string): string => `${blob}.sha256`;

/**
 * Makes sure that a cache holds a file's bytes, digest checked, and gives their sha256; goes on from what an earlier try
 * left. Throws UserError if the bytes have the wrong digest twice.
 */
export async function fetchBlob(
  crew: Crew,
  wanted: WantedBlob,
  events: BlobEvents,
): Promise<{ readonly sha256: string; readonly fetched: number }> {
  const { name, blob } = wanted;
  const found = await matches(crew, wanted, events);
  // a file that is there needs no lock, which a read-only cache would not allow
  if (typeof found === "string") {
    events.onBytes(wanted.bytes);
    return { sha256: found, fetched: 0 };
  }
  await mkdir(dirname(blob), { recursive: true });
  const unlock = await lock(`${blob}.part.lock`, events.signal, (holder) => events.onNote(`waiting for ${holder}, which fetches ${name}`));
  try {
    const present = await matches(crew, wanted, events);
    if (typeof present === "string") {
      events.onBytes(wanted.bytes);
      return { sha256: present, fetched: 0 };
    }
    if (present !== null) await rename(blob, `${blob}.bad`);
    let fetched = 0;
    events.onNote(name);
    for (let attempt = 1; ; attempt++) {
      const part = await fetchPart(crew, wanted, events);
      fetched += part.fetched;
      if (typeof part.digested === "string") {
        if (wanted.digest === null) await writeFileAtomic(digestOf(blob), part.digested);
        await rename(partOf(blob), blob);
        await syncDirectory(dirname(blob));
        await rm(journalOf(blob), { force: true });
        return { sha256: part.digested, fetched };
      }
      await rename(partOf(blob), `${blob}.bad`);
      await rm(journalOf(blob), { force: true });
      if (attempt === 2)
        throw new UserError("a downloaded file has the wrong digest, twice: it was not used. Try again later, or another version", {
          file: wanted.source.address,
          expected: wanted.digest?.hex,
          got: part.digested.wrong,
          kept: `${blob}.bad`,
        });
      events.onNote(`${name} came with the wrong digest; fetching it once more`);
    }
  } finally {
    await unlock();
  }
}

/** How many bytes of a file need not be fetched again. */
export async function bytesPresent(blob: string, bytes: number): Promise<number> {
  if ((await sizeOf(blob)) === bytes) return bytes;
  return bytesDone((await startSegments(blob, bytes)).segments);
}

/** The segments of a file, and whether the machine was restarted since the last line of its journal. */
async function startSegments(blob: string, bytes: number): Promise<{ readonly segments: Segment[]; readonly restarted: boolean }> {
  const noted = (await sizeOf(partOf(blob))) === bytes ? await stat(journalOf(blob)).catch(() => null) : null;
  const journal = noted === null ? "" : await readFile(journalOf(blob), "utf8");
  const restarted = (noted?.mtimeMs ?? 0) < Date.now() - uptime() * 1000;
  return { segments: planSegments(bytes, journal, restarted), restarted };
}

/** Fetches what is missing of the partial file and digests it all the while; gives the bytes that came over the wire. */
async function fetchPart(
  crew: Crew,
  { name, blob, bytes, source, digest }: WantedBlob,
  events: BlobEvents,
): Promise<{ readonly fetched: number; readonly digested: string | { readonly wrong: string } }> {
  const { segments, restarted } = await startSegments(blob, bytes);
  const before = bytesDone(segments);
  if (before === 0) await rm(journalOf(blob), { force: true });
  // lines whose bytes did not reach the disk must not count the next time either
  else if (!restarted) await endTornLine(journalOf(blob));
  else await writeFileAtomic(journalOf(blob), segments.map((segment) => journalLine(segment, true)).join(""));
  const file = await open(partOf(blob), before === 0 ? "w+" : "r+");
  const journal = await open(journalOf(blob), "a");
  const syncing = keepSynced(file, journal, segments);
  try {
    await file.truncate(bytes);
    let digested = 0;
    const digesting = crew.digest(digestJob(partOf(blob), bytes, digest), (upTo) => (digested = upTo));
    const moved = (piece: Piece | null = null): void => {
      digesting.upTo(bytesInOrder(segments), piece);
      events.onBytes(bytesDone(segments));
    };
    moved();
    const move = (own: readonly Segment[]): Promise<void> => {
      const start = own[0]!.start + own[0]!.done;
      const inOrder = bytesInOrder(segments) === start && start - digested < NEAR;
      const onDone = ({ upTo, piece }: Progress): void => {
        reach(own, upTo);
        moved(piece);
      };
      const job = { source, bytes, segments: own, inOrder, part: partOf(blob), journal: journalOf(blob) };
      return crew.transfer(job, onDone, (note) => events.onNote(note));
    };
    const waiting = segments.filter((segment) => segment.start + segment.done < segment.end);
    let run = 1;
    let ranges = true;
    const bring = (alone: boolean): Promise<void> | null => {
      if (!ranges || waiting.length === 0) return null;
      const own = takeRun(waiting, alone ? run : 1);
      run = Math.min(2 * run, LONGEST_RUN);
      return move(own).catch((error: unknown) => {
        if ((error as Error).name !== "NoRangesError") throw error;
        ranges = false;
      });
    };
    let seen = before;
    let slowTicks = 0;
    const wanted = (running: number): number => {
      const done = bytesDone(segments);
      slowTicks = done - seen < ENOUGH_A_TICK ? slowTicks + 1 : 0;
      seen = done;
      return slowTicks >= SLOW_TICKS ? Math.min(2 * running, PARALLEL) : running;
    };
    const transfers = asMany(bring, wanted).then(() => {
      if (ranges) return undefined;
      events.onNote(`${name}: the server knows no ranges of bytes, so it comes in one stream, from its start`);
      const whole = { index: 0, start: 0, end: bytes, done: bytesInOrder(segments) };
      segments.splice(0, segments.length, whole);
      return move([whole]);
    });
    // if the digest fails, the blocks that it holds never come back, and transfers would wait for them
    await Promise.race([transfers, digesting.result.then(() => transfers)]);
    // on disk before it gets its name: other programs use the cache without digesting
    const [judgement] = await Promise.all([judged(digesting, digest), file.datasync()]);
    return { fetched: bytesDone(segments) - before, digested: judgement };
  } finally {
    await syncing.stop();
    await journal.close();
    await file.close();
  }
}

/** Does `work` until it gives null: at first one at a time, then as many as `wanted` says at each tick, given how many run. */
function asMany(work: (alone: boolean) => Promise<void> | null, wanted: (running: number) => number): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    let running = 0;
    let atMost = 1;
    const begin = (): void => {
      while (running < atMost) {
        const doing = work(running === 0);
        if (doing === null) break;
        running++;
        doing.then(() => {
          running--;
          begin();
        }, fail);
      }
      if (running > 0) return;
      clearInterval(ticking);
      resolve();
    };
    const fail = (error: Error): void => {
      atMost = 0;
      clearInterval(ticking);
      reject(error);
    };
    const ticking = setInterval(() => {
      atMost = wanted(running);
      begin();
    }, TICK_MS);
    begin();
  });
}

/** Forces new bytes to disk again and again, and notes that: a power cut costs little, and little is left to force at the end. */
function keepSynced(file: FileHandle, journal: FileHandle, segments: readonly Segment[]): { stop(): Promise<void> } {
  const stopping = new AbortController();
  let noted = new Map<number, number>();
  const sync = async (): Promise<void> => {
    const now = new Map(segments.map(({ index, done }) => [index, done]));
    await file.datasync();
    const news = [...now].filter(([index, done]) => done !== noted.get(index) && done > 0);
    await journal.appendFile(news.map(([index, done]) => journalLine({ index, done }, true)).join(""));
    await journal.datasync();
    noted = now;
  };
  const work = async (): Promise<void> => {
    for (;;) {
      await sleep(SYNC_MS, undefined, { signal: stopping.signal });
      // an error here is also an error of the thread that writes the bytes
      await sync().catch(() => undefined);
    }
  };
  const working = work().catch(() => undefined);
  return {
    stop: () => {
      stopping.abort();
      return working;
    },
  };
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** The sha256 of a file that has the right digest; `wrong`: the digest it has instead; null: there is no file, or no digest to check it by. */
async function matches(
  crew: Crew,
  { name, blob, bytes: expected, digest: stated }: WantedBlob,
  events: BlobEvents,
): Promise<string | { readonly wrong: string } | null> {
  const bytes = await sizeOf(blob);
  if (bytes === null) return null;
  const digest = stated ?? (await keptDigest(blob));
  if (digest === null) return null;
  if (bytes !== expected) return { wrong: `${bytes} bytes instead of ${expected}` };
  events.onNote(`checking ${name}`);
  const digesting = crew.digest(digestJob(blob, bytes, digest), (done) => events.onBytes(done));
  digesting.upTo(bytes);
  return await judged(digesting, digest);
}

async function keptDigest(blob: string): Promise<WantedBlob["digest"]> {
  const hex = await readFile(digestOf(blob), "utf8").catch(() => null);
  return hex === null ? null : { kind: "sha256", hex };
}

function digestJob(path: string, bytes: number, digest: WantedBlob["digest"]): DigestJob {
  return { path, bytes, also: digest === null || digest.kind === "sha256" ? null : digest.kind };
}

async function judged(digesting: Digesting, digest: WantedBlob["digest"]): Promise<string | { readonly wrong: string }> {
  const { sha256, also } = await digesting.result;
  const found = also ?? sha256;
  return digest === null || found === digest.hex ? sha256 : { wrong: found };
}
