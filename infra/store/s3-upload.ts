import { open, readFile } from "node:fs/promises";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { CorruptError } from "../../core/errors.js";
import { planParts, readPart, type Part } from "../disk/file-digest.js";
import { abortStrays, addPart, beginJournal, dropJournal, readJournal, type SentPart, type Target } from "./s3-journal.js";
import { keptAs, type ObjectOptions } from "./s3-options.js";
import { checksumOfBytes, completeInput, createInput, partInput, putInput } from "./s3-requests.js";
import type { FileUpload, ServerAbilities } from "./store.js";

/**
 * Sends a file to S3, a large one in parts. Each part is sent with the SHA-256 that it had when the file was digested: it
 * signs the request, and the server checks and keeps it, and makes the object's own checksum from all of them.
 */

/** Parts sent at once: more of them hide latency, and each costs the memory of a part. */
const PARALLEL = 6;

/** A local file. */
export type Source = { readonly path: string; readonly size: number };

/** Sends a file, a large one in parts, from where the journal says; its digest goes into the metadata. Throws CorruptError if the file has changed since it was digested. */
export async function uploadFile(
  client: S3Client,
  target: Target,
  source: Source,
  upload: FileUpload,
  options: ObjectOptions,
  can: ServerAbilities,
): Promise<void> {
  const { digest, signal } = upload;
  const changed = (): CorruptError =>
    new CorruptError("a file changed before all of it was uploaded", { file: source.path, expected: digest.sha256 });
  if (source.size !== digest.bytes) throw changed();
  const parts = planParts(source.size);
  if (parts.length <= 1) {
    const Body = await readFile(source.path, { signal });
    const put = async (): Promise<unknown> =>
      client.send(new PutObjectCommand(putInput(can, target, toSend(can, Body, digest.parts[0]!), options)), { abortSignal: signal });
    await put().catch((error: Error) => {
      throw isOther(error) ? changed() : error;
    });
    upload.onBytes(source.size);
    return;
  }
  const begun = await readJournal(client, upload.journal, signal);
  const wanted = JSON.stringify({
    ...target,
    sha256: digest.sha256,
    ...keptAs(options),
    ...(can.checksums ? {} : { checksums: false }),
  });
  let uploadId = begun?.header.uploadId;
  if (begun?.header.what !== wanted) {
    // another file's upload, which will not go on
    await dropJournal(client, upload.journal, signal).catch(() => undefined);
    const command = new CreateMultipartUploadCommand(createInput(can, target, digest.sha256, options));
    ({ UploadId: uploadId } = await client.send(command, { abortSignal: signal }));
    await beginJournal(upload.journal, { ...target, uploadId: uploadId!, what: wanted });
  }
  const earlier = new Map(begun?.header.what === wanted ? begun.sent.map((each) => [each.part, each]) : []);
  const whole = { ...target, UploadId: uploadId! };
  const sent = await sendParts(client, whole, source, upload, parts, earlier, can).catch(async (error: Error) => {
    if (!isOther(error)) throw error;
    await dropJournal(client, upload.journal, signal).catch(() => undefined);
    throw changed();
  });
  await client.send(new CompleteMultipartUploadCommand(completeInput(can, whole, sent)), { abortSignal: signal });
  await abortStrays(client, target, signal);
  await dropJournal(client, upload.journal, signal).catch(() => undefined);
}

/** Bytes and the SHA-256 that they had when they were digested. Throws what a server says of other bytes, where the server doesn't look. */
function toSend(can: ServerAbilities, Body: Uint8Array, checksum: string): { Body: Uint8Array; checksum: string } {
  if (!can.checksums && checksumOfBytes(Body) !== checksum) throw Object.assign(new Error("other bytes"), { name: "BadDigest" });
  return { Body, checksum };
}

/** Whether the server says that bytes don't have the digest that was sent with them. */
function isOther({ name }: Error): boolean {
  return name === "BadDigest" || name === "XAmzContentSHA256Mismatch";
}

/** Sends the parts that have not arrived. */
async function sendParts(
  client: S3Client,
  target: Target & { readonly UploadId: string },
  { path }: Source,
  { digest, journal, onBytes, signal }: FileUpload,
  parts: readonly Part[],
  earlier: ReadonlyMap<number, SentPart>,
  can: ServerAbilities,
): Promise<SentPart[]> {
  const file = await open(path, "r");
  // the first failure stops the others
  const stop = new AbortController();
  const abortSignal = AbortSignal.any([signal, stop.signal]);
  const sent: SentPart[] = [];
  const waiting = [...parts];
  const sender = async (): Promise<void> => {
    const own = new Uint8Array(parts[0]!.end);
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      const sha256 = digest.parts[part.part - 1]!;
      const bytes = part.end - part.start;
      const before = earlier.get(part.part);
      if (before?.sha256 === sha256) sent.push(before);
      else {
        abortSignal.throwIfAborted();
        const read = toSend(can, await readPart(file, path, part, own), sha256);
        const command = new UploadPartCommand(partInput(can, target, part.part, read));
        const { ETag } = await client.send(command, { abortSignal });
        const entry = { part: part.part, bytes, sha256, etag: ETag! };
        await addPart(journal, entry);
        sent.push(entry);
      }
      onBytes(bytes);
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
  return sent.sort((a, b) => a.part - b.part);
}
