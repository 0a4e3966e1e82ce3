import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { UserError } from "../../core/errors.js";
import { syncDirectory } from "../files.js";
import { lock } from "../lock.js";
import { fileUrl, type HubFile, type Repository } from "./repository.js";
import { cutShort, get, withRetries, type HubAccess } from "./request.js";
import { bytesDone, journalLine, planSegments, type Segment } from "./segments.js";

/** Requests under way at a time. */
const PARALLEL = 8;
/** Bytes of a segment, or milliseconds, after which its progress is made durable and noted. */
const NOTE_BYTES = 16 * 2 ** 20;
const NOTE_MS = 500;

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

/**
 * Makes sure that the cache holds a file's bytes under `blob`, digest checked, and gives their sha256. What an earlier
 * try left is gone on with. Throws UserError when the bytes have the wrong digest twice.
 */
export async function fetchBlob(
  access: HubAccess,
  repository: Repository,
  file: HubFile,
  blob: string,
  events: BlobEvents,
): Promise<{ readonly sha256: string; readonly fetched: number }> {
  await mkdir(dirname(blob), { recursive: true });
  const unlock = await lock(`${blob}.part.lock`, events.signal, (holder) =>
    events.onNote(`waiting for ${holder}, which fetches ${file.path}`),
  );
  try {
    const present = await matches(blob, file, events.signal);
    if (typeof present === "string") {
      events.onBytes(file.bytes);
      return { sha256: present, fetched: 0 };
    }
    if (present !== null) await rename(blob, `${blob}.bad`);
    let fetched = 0;
    events.onNote(file.path);
    for (let attempt = 1; ; attempt++) {
      fetched += await fetchPart(access, repository, file, blob, events);
      events.onNote(`checking ${file.path}`);
      const got = await matches(partOf(blob), file, events.signal);
      if (typeof got === "string") {
        await rename(partOf(blob), blob);
        await syncDirectory(dirname(blob));
        await rm(journalOf(blob), { force: true });
        return { sha256: got, fetched };
      }
      await rename(partOf(blob), `${blob}.bad`);
      await rm(journalOf(blob), { force: true });
      if (attempt === 2) {
        throw new UserError("a file from the hub has the wrong digest, twice: it was not used. Try again later, or another revision", {
          file: fileUrl(access, repository, file.path),
          expected: file.digest.hex,
          got: got?.wrong,
          kept: `${blob}.bad`,
        });
      }
      events.onNote(`${file.path} came with the wrong digest; fetching it once more`);
    }
  } finally {
    await unlock();
  }
}

/** How many bytes of a file need not be fetched again. */
export async function bytesPresent(blob: string, file: HubFile): Promise<number> {
  if ((await sizeOf(blob)) === file.bytes) return file.bytes;
  return bytesDone(await startSegments(blob, file));
}

async function startSegments(blob: string, file: HubFile): Promise<Segment[]> {
  const usable = (await sizeOf(partOf(blob))) === file.bytes;
  const journal = usable ? await readFile(journalOf(blob), "utf8").catch(() => "") : "";
  return planSegments(file.bytes, journal);
}

/** Fetches what is missing of the partial file; gives the bytes that came over the wire. */
async function fetchPart(access: HubAccess, repository: Repository, file: HubFile, blob: string, events: BlobEvents): Promise<number> {
  const segments = await startSegments(blob, file);
  const before = bytesDone(segments);
  if (before === 0) await rm(journalOf(blob), { force: true });
  const part = await open(partOf(blob), before === 0 ? "w+" : "r+");
  const journal = await open(journalOf(blob), "a");
  const failed = new AbortController();
  const signal = AbortSignal.any([events.signal, failed.signal]);
  const fetchOne = async (segment: Segment): Promise<void> => {
    const url = fileUrl(access, repository, file.path);
    await withRetries(
      access,
      { signal, onNote: (note) => events.onNote(note) },
      () => segment.done,
      () => fetchSegment(access, url, file, segment, { part, journal, signal, onBytes: () => events.onBytes(bytesDone(segments)) }),
    );
  };
  try {
    await part.truncate(file.bytes);
    const waiting = segments.filter((segment) => segment.start + segment.done < segment.end);
    const worker = async (): Promise<void> => {
      for (let segment = waiting.shift(); segment !== undefined; segment = waiting.shift()) await fetchOne(segment);
    };
    const settled = await Promise.allSettled(
      Array.from({ length: PARALLEL }, () =>
        worker().catch((error: unknown) => {
          failed.abort(error);
          throw error;
        }),
      ),
    );
    if (failed.signal.aborted) throw failed.signal.reason;
    for (const result of settled) if (result.status === "rejected") throw result.reason;
    await part.sync();
    return bytesDone(segments) - before;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC")
      throw new UserError(
        "the disk is full: make room and start again, what was fetched is kept",
        { file: partOf(blob), need: file.bytes },
        { cause: error },
      );
    throw error;
  } finally {
    await journal.close();
    await part.close();
  }
}

interface Target {
  readonly part: FileHandle;
  readonly journal: FileHandle;
  readonly signal: AbortSignal;
  onBytes(): void;
}

/** One request for what is missing of a segment, written as it comes. */
async function fetchSegment(access: HubAccess, url: string, file: HubFile, segment: Segment, target: Target): Promise<void> {
  const length = segment.end - segment.start;
  let noted = segment.done;
  let notedAt = performance.now();
  const note = async (): Promise<void> => {
    if (segment.done === noted) return;
    await target.part.datasync();
    await target.journal.appendFile(journalLine(segment));
    noted = segment.done;
    notedAt = performance.now();
  };
  // a whole small file is asked for without a range: not every server knows ranges of those
  const whole = segment.done === 0 && length === file.bytes;
  const range = { start: segment.start + segment.done, end: segment.end };
  try {
    await get(access, url, whole ? { signal: target.signal } : { range, signal: target.signal }, async (chunk) => {
      if (segment.done + chunk.length > length) throw new UserError("the hub sent more bytes than it said", { url, expected: length });
      for (let at = 0; at < chunk.length;)
        at += (await target.part.write(chunk, at, chunk.length - at, segment.start + segment.done + at)).bytesWritten;
      segment.done += chunk.length;
      if (segment.done - noted >= NOTE_BYTES || performance.now() - notedAt >= NOTE_MS) await note();
      target.onBytes();
    });
    if (segment.done < length) throw cutShort(url, length, segment.done);
  } finally {
    await note();
  }
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** The sha256 of a file that has the right digest; `wrong`: the digest it has instead; null: there is no file. */
async function matches(path: string, file: HubFile, signal: AbortSignal): Promise<string | { readonly wrong: string } | null> {
  const bytes = await sizeOf(path);
  if (bytes === null) return null;
  if (bytes !== file.bytes) return { wrong: `${bytes} bytes instead of ${file.bytes}` };
  const sha256 = createHash("sha256");
  const git = file.digest.kind === "git" ? createHash("sha1").update(`blob ${file.bytes}\0`) : null;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) {
    sha256.update(chunk as Buffer);
    git?.update(chunk as Buffer);
  }
  const hex = sha256.digest("hex");
  const found = git?.digest("hex") ?? hex;
  return found === file.digest.hex ? hex : { wrong: found };
}
