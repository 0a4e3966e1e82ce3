import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { appendFile, open, readFile, rm } from "node:fs/promises";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { CorruptError } from "../../core/errors.js";
import { sha256, writeFileAtomic } from "../files.js";
import type { FileUpload } from "./store.js";

/** S3's multipart upload, one part after the other journalled, so that a killed upload goes on. */

const MIB = 1 << 20;
/** Parts sent at once: more hide latency, each costs a part's memory. */
const PARALLEL = 4;

/** The byte ranges of a file's parts, at least 16 MiB each and at most 10,000 of them: S3's own bound. */
export function planParts(size: number): { readonly part: number; readonly start: number; readonly end: number }[] {
  const partBytes = Math.max(16, Math.ceil(size / MIB / 10_000)) * MIB;
  return Array.from({ length: Math.ceil(size / partBytes) }, (_, index) => ({
    part: index + 1,
    start: index * partBytes,
    end: Math.min(size, (index + 1) * partBytes),
  }));
}

interface SentPart {
  readonly part: number;
  readonly bytes: number;
  /** of the bytes as they were sent, in hex */
  readonly sha256: string;
  readonly etag: string;
  /** base64, as S3 wants it back: servers don't list it */
  readonly crc32: string | null;
}

type Target = { readonly Bucket: string; readonly Key: string };
type Source = { readonly path: string; readonly size: number };

/** Sends a file: small ones at once, large ones in parts, going on where the journal says. Its digest goes into the metadata. */
export async function uploadFile(client: S3Client, target: Target, source: Source, upload: FileUpload): Promise<void> {
  const parts = planParts(source.size);
  const { signal } = upload;
  if (parts.length <= 1) {
    const Body = await readFile(source.path, { signal });
    if (sha256(Body) !== upload.sha256) throw changed(source, upload);
    await client.send(new PutObjectCommand({ ...target, Body, Metadata: { sha256: upload.sha256 } }), { abortSignal: signal });
    upload.onBytes(source.size);
    return;
  }
  const { uploadId, sent } = (await resume(client, target, source, upload)) ?? (await begin(client, target, upload));
  for (const { bytes } of sent.values()) upload.onBytes(bytes);
  await sendParts(
    client,
    { ...target, UploadId: uploadId },
    source,
    upload,
    parts.filter(({ part }) => !sent.has(part)),
    sent,
  );
  if (!(await isWhatWasSent(source, parts, sent, upload))) {
    // another try must not go on with any of it
    await client.send(new AbortMultipartUploadCommand({ ...target, UploadId: uploadId })).catch(() => undefined);
    await rm(upload.journal, { force: true });
    throw changed(source, upload);
  }
  const Parts = parts.map(({ part }) => {
    const { etag, crc32 } = sent.get(part)!;
    return { PartNumber: part, ETag: etag, ...(crc32 === null ? {} : { ChecksumCRC32: crc32 }) };
  });
  await client.send(new CompleteMultipartUploadCommand({ ...target, UploadId: uploadId, MultipartUpload: { Parts } }), {
    abortSignal: signal,
  });
  await rm(upload.journal, { force: true });
  await abortStrays(client, target);
}

/**
 * Removes what else was begun for an object that is whole now, such as an upload whose process was killed before it was
 * journalled. Where uploads may not be listed, a lifecycle rule has to.
 */
export async function abortStrays(client: S3Client, target: Target): Promise<void> {
  const listed = await client.send(new ListMultipartUploadsCommand({ Bucket: target.Bucket, Prefix: target.Key })).catch(() => null);
  for (const { Key, UploadId } of listed?.Uploads ?? [])
    if (Key === target.Key) await client.send(new AbortMultipartUploadCommand({ ...target, UploadId })).catch(() => undefined);
}

function changed({ path }: Source, { sha256: expected }: FileUpload): CorruptError {
  return new CorruptError("a file changed before all of it was uploaded", { file: path, expected });
}

/** Whether the parts, of which an earlier process may have sent some, are those of a file with the digest. */
async function isWhatWasSent(
  source: Source,
  parts: ReturnType<typeof planParts>,
  sent: ReadonlyMap<number, SentPart>,
  upload: FileUpload,
): Promise<boolean> {
  const whole = createHash("sha256");
  for (const { part, start, end } of parts) {
    const own = createHash("sha256");
    for await (const chunk of createReadStream(source.path, { start, end: end - 1, highWaterMark: 1 << 20, signal: upload.signal })) {
      own.update(chunk as Buffer);
      whole.update(chunk as Buffer);
    }
    if (own.digest("hex") !== sent.get(part)!.sha256) return false;
  }
  return whole.digest("hex") === upload.sha256;
}

async function begin(client: S3Client, target: Target, upload: FileUpload): Promise<{ uploadId: string; sent: Map<number, SentPart> }> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...target, Metadata: { sha256: upload.sha256 } }), {
    abortSignal: upload.signal,
  });
  await writeFileAtomic(upload.journal, `${JSON.stringify({ ...target, uploadId: UploadId, sha256: upload.sha256 })}\n`);
  return { uploadId: UploadId!, sent: new Map() };
}

/** The upload that the journal tells of, with the parts that both it and the server know; null when there is none to go on with. */
async function resume(
  client: S3Client,
  target: Target,
  source: Source,
  upload: FileUpload,
): Promise<{ uploadId: string; sent: Map<number, SentPart> } | null> {
  const lines = (await readFile(upload.journal, "utf8").catch(() => "")).split("\n");
  const header = parse<Target & { readonly uploadId: string; readonly sha256: string }>(lines[0]!);
  if (header === null) return null;
  const UploadId = header.uploadId;
  if (header.Bucket !== target.Bucket || header.Key !== target.Key || header.sha256 !== upload.sha256) {
    // another file's upload: nobody will go on with it, so its parts are removed
    await client.send(new AbortMultipartUploadCommand({ Bucket: header.Bucket, Key: header.Key, UploadId })).catch(() => undefined);
    return null;
  }
  const listed = await listParts(client, { ...target, UploadId }, upload.signal);
  if (listed === null) return null;
  const expected = new Map(planParts(source.size).map(({ part, start, end }) => [part, end - start]));
  const sent = new Map<number, SentPart>();
  for (const line of lines.slice(1)) {
    const entry = parse<SentPart>(line);
    if (entry !== null && listed.get(entry.part) === entry.etag && expected.get(entry.part) === entry.bytes) sent.set(entry.part, entry);
  }
  return { uploadId: UploadId, sent };
}

/** A line of the journal; null for one that a kill cut short. */
function parse<T>(line: string): T | null {
  try {
    return JSON.parse(line) as T;
  } catch {
    return null;
  }
}

/** ETags of the parts that the server has, by number; null when it no longer knows the upload. */
async function listParts(
  client: S3Client,
  upload: Target & { readonly UploadId: string },
  abortSignal: AbortSignal,
): Promise<Map<number, string> | null> {
  const etags = new Map<number, string>();
  let marker: string | undefined;
  do {
    try {
      const page = await client.send(new ListPartsCommand({ ...upload, ...(marker === undefined ? {} : { PartNumberMarker: marker }) }), {
        abortSignal,
      });
      for (const { PartNumber, ETag } of page.Parts ?? []) etags.set(PartNumber!, ETag!);
      marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
    } catch (error) {
      if ((error as Error).name === "NoSuchUpload") return null;
      throw error;
    }
  } while (marker !== undefined);
  return etags;
}

async function sendParts(
  client: S3Client,
  target: Target & { readonly UploadId: string },
  source: Source,
  upload: FileUpload,
  left: readonly { readonly part: number; readonly start: number; readonly end: number }[],
  sent: Map<number, SentPart>,
): Promise<void> {
  const file = await open(source.path, "r");
  // the first failure stops the others
  const stop = new AbortController();
  const abortSignal = AbortSignal.any([upload.signal, stop.signal]);
  const queue = [...left];
  const sender = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      abortSignal.throwIfAborted();
      const Body = Buffer.alloc(next.end - next.start);
      const { bytesRead } = await file.read(Body, 0, Body.length, next.start);
      if (bytesRead !== Body.length) throw new Error(`a file shrank while it was sent [file=${source.path}]`);
      const answer = await client.send(new UploadPartCommand({ ...target, PartNumber: next.part, Body }), { abortSignal });
      const entry = { part: next.part, bytes: Body.length, sha256: sha256(Body), etag: answer.ETag!, crc32: answer.ChecksumCRC32 ?? null };
      await appendFile(upload.journal, `${JSON.stringify(entry)}\n`);
      sent.set(next.part, entry);
      upload.onBytes(Body.length);
    }
  };
  const ended = await Promise.allSettled(
    Array.from({ length: PARALLEL }, () =>
      sender().catch((error: unknown) => {
        stop.abort();
        throw error;
      }),
    ),
  );
  await file.close();
  const failed = ended.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
