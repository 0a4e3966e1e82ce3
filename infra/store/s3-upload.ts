import { createHash, webcrypto } from "node:crypto";
import { open, readFile, type FileHandle } from "node:fs/promises";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { CorruptError } from "../../core/errors.js";
import { abortStrays, addPart, beginJournal, dropJournal, readJournal, type SentPart, type Target } from "./s3-journal.js";
import { headersOf, keptAs, type ObjectOptions } from "./s3-options.js";
import type { FileUpload } from "./store.js";

/**
 * Sending a file to S3, in parts where it is large. Each part's SHA-256 goes along: the server checks it, keeps it, and
 * makes of all of them the object's own; it also signs the request, so nothing is digested twice.
 */

const MIB = 1 << 20;
/** Parts sent at once: more hide latency, each costs a part's memory. */
const PARALLEL = 6;
/** MiB of a part: a kill loses those under way, and a server has work with each, so that large files get larger ones. */
const PART = { least: 8, usual: 32, count: 64 };

/** A part's number and byte range. */
export interface Part {
  readonly part: number;
  readonly start: number;
  readonly end: number;
}

/** The byte ranges of a file's parts, at least 8 MiB each, 32 from 2 GiB on, and at most 10,000 of them: S3's own bound. */
export function planParts(size: number): Part[] {
  const wanted = Math.min(PART.usual, Math.ceil(size / MIB / PART.count));
  const partBytes = Math.max(PART.least, wanted, Math.ceil(size / MIB / 10_000)) * MIB;
  return Array.from({ length: Math.ceil(size / partBytes) }, (_, index) => ({
    part: index + 1,
    start: index * partBytes,
    end: Math.min(size, (index + 1) * partBytes),
  }));
}

/** A local file. */
export type Source = { readonly path: string; readonly size: number };

/** Sends a file: small ones at once, large ones in parts, going on where the journal says. Its digest goes into the metadata. */
export async function uploadFile(
  client: S3Client,
  target: Target,
  source: Source,
  upload: FileUpload,
  options: ObjectOptions,
): Promise<void> {
  const parts = planParts(source.size);
  const { signal } = upload;
  const Metadata = { sha256: upload.sha256, ...keptAs(options) };
  if (parts.length <= 1) {
    const Body = await readFile(source.path, { signal });
    const ChecksumSHA256 = await digest(Body);
    if (Buffer.from(ChecksumSHA256, "base64").toString("hex") !== upload.sha256) throw changed(source, upload);
    const command = new PutObjectCommand({ ...target, ...headersOf(options), Body, ChecksumSHA256, Metadata });
    await client.send(command, { abortSignal: signal });
    upload.onBytes(source.size);
    return;
  }
  const begun = await readJournal(client, upload.journal, signal);
  const wanted = JSON.stringify({ ...target, ...Metadata });
  let uploadId = begun?.header.uploadId;
  if (begun?.header.what !== wanted) {
    // another file's upload: nobody will go on with it
    await dropJournal(client, upload.journal).catch(() => undefined);
    const command = new CreateMultipartUploadCommand({ ...target, ...headersOf(options), ChecksumAlgorithm: "SHA256", Metadata });
    ({ UploadId: uploadId } = await client.send(command, { abortSignal: signal }));
    await beginJournal(upload.journal, { ...target, uploadId: uploadId!, what: wanted });
  }
  const earlier = new Map(begun?.header.what === wanted ? begun.sent.map((each) => [each.part, each]) : []);
  const sent = await sendParts(client, { ...target, UploadId: uploadId! }, source, upload, parts, earlier);
  if (sent === null) {
    // another try must not go on with any of it
    await dropJournal(client, upload.journal).catch(() => undefined);
    throw changed(source, upload);
  }
  const Parts = sent.map(({ part, etag, sha256: ChecksumSHA256 }) => ({ PartNumber: part, ETag: etag, ChecksumSHA256 }));
  const command = new CompleteMultipartUploadCommand({ ...target, UploadId: uploadId, MultipartUpload: { Parts } });
  await client.send(command, { abortSignal: signal });
  await abortStrays(client, target);
  await dropJournal(client, upload.journal).catch(() => undefined);
}

function changed({ path }: Source, { sha256: expected }: FileUpload): CorruptError {
  return new CorruptError("a file changed before all of it was uploaded", { file: path, expected });
}

/** SHA-256 in base64, computed off the main thread. */
async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes)).toString("base64");
}

/** What S3 calls the SHA-256 of an object that came in parts: that of the parts' digests, and their number. */
function ofParts(digests: readonly string[]): string {
  const joined = Buffer.concat(digests.map((each) => Buffer.from(each, "base64")));
  return `${createHash("sha256").update(joined).digest("base64")}-${digests.length}`;
}

/** The SHA-256 that S3 keeps of a file with this content, as `uploadFile` would send it. */
export async function checksumOf({ path, size }: Source, { sha256, signal }: FileUpload): Promise<string> {
  const parts = planParts(size);
  if (parts.length <= 1) return Buffer.from(sha256, "hex").toString("base64");
  const file = await open(path, "r");
  try {
    const digests: string[] = [];
    const bytes = new Uint8Array(parts[0]!.end);
    for (const part of parts) {
      signal.throwIfAborted();
      digests.push(await digest(await readPart(file, path, part, bytes)));
    }
    return ofParts(digests);
  } finally {
    await file.close();
  }
}

async function readPart(file: FileHandle, path: string, { start, end }: Part, into: Uint8Array<ArrayBuffer>): Promise<typeof into> {
  const bytes = into.subarray(0, end - start);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
  if (bytesRead !== bytes.length) throw new Error(`a file shrank while it was sent [file=${path}]`);
  return bytes;
}

/** Reads all parts once, in order, and sends those that have not arrived; null when together they are not the file with the digest. */
async function sendParts(
  client: S3Client,
  target: Target & { readonly UploadId: string },
  source: Source,
  upload: FileUpload,
  parts: readonly Part[],
  earlier: ReadonlyMap<number, SentPart>,
): Promise<SentPart[] | null> {
  const file = await open(source.path, "r");
  // the first failure stops the others
  const stop = new AbortController();
  const abortSignal = AbortSignal.any([upload.signal, stop.signal]);
  const whole = createHash("sha256");
  const sent: SentPart[] = [];
  const queue = [...parts];
  let same = true;
  let reading: Promise<unknown> = Promise.resolve();
  const take = (into: Uint8Array<ArrayBuffer>): Promise<{ part: Part; Body: Uint8Array<ArrayBuffer> } | null> => {
    const taken = reading.then(async () => {
      abortSignal.throwIfAborted();
      const part = queue.shift();
      if (part === undefined) return null;
      const Body = await readPart(file, source.path, part, into);
      whole.update(Body);
      return { part, Body };
    });
    reading = taken.catch(() => undefined);
    return taken;
  };
  const sender = async (): Promise<void> => {
    const own = new Uint8Array(parts[0]!.end);
    for (let next = await take(own); next !== null && same; next = await take(own)) {
      const { part, Body } = next;
      const sha256 = await digest(Body);
      const before = earlier.get(part.part);
      if (before?.bytes === Body.length) {
        same &&= before.sha256 === sha256;
        sent.push(before);
      } else {
        const command = new UploadPartCommand({ ...target, PartNumber: part.part, Body, ChecksumSHA256: sha256 });
        const { ETag } = await client.send(command, { abortSignal });
        const entry = { part: part.part, bytes: Body.length, sha256, etag: ETag! };
        await addPart(upload.journal, entry);
        sent.push(entry);
      }
      upload.onBytes(Body.length);
    }
  };
  let failure: { readonly reason: unknown } | null = null;
  const senders = Array.from({ length: Math.min(PARALLEL, parts.length) }, () =>
    sender().catch((reason: unknown) => {
      failure ??= { reason };
      stop.abort();
    }),
  );
  await Promise.all(senders);
  await file.close();
  if (failure !== null) throw (failure as { readonly reason: unknown }).reason;
  return same && whole.digest("hex") === upload.sha256 ? sent.sort((a, b) => a.part - b.part) : null;
}
