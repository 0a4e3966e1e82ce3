import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, ListPartsCommand, type S3Client } from "@aws-sdk/client-s3";
import { writeFileAtomic } from "../disk/files.js";
import { appendLine, reopenLines } from "../disk/line-journal.js";
import { during, statusOf } from "./s3-errors.js";

/** The local journal of an upload in parts: a killed upload goes on by it, and one that will not go on is removed by it. */

const LIST = { doing: "listing an upload's parts", right: "s3:ListMultipartUploadParts" };

/** An object by bucket and key. */
export type Target = { readonly Bucket: string; readonly Key: string };

/** A part that has arrived. */
export interface SentPart {
  readonly part: number;
  readonly bytes: number;
  /** of the bytes as they were sent, in base64: servers want it back and don't list it */
  readonly sha256: string;
  readonly etag: string;
}

/** The journal's first line: which upload it is, and `what` bytes it sends, kept how; an upload of anything else does not go on with it. */
export type Header = Target & { readonly uploadId: string; readonly what: string };

/** Begins a journal. */
export async function beginJournal(journal: string, header: Header): Promise<void> {
  await writeFileAtomic(journal, `${JSON.stringify(header)}\n`);
}

/** Adds a part that has arrived. */
export async function addPart(journal: string, part: SentPart): Promise<void> {
  await appendLine(journal, part);
}

/** The journal's upload and the parts that the server has as well; null if there is no upload to go on with. */
export async function readJournal(
  client: S3Client,
  journal: string,
  signal: AbortSignal,
): Promise<{ readonly header: Header; readonly sent: readonly SentPart[] } | null> {
  const { header, parts } = await parseJournal(journal);
  if (header === null) return null;
  const listed = await listParts(client, header, signal);
  if (listed === null) return null;
  return { header, sent: parts.filter(({ part, etag }) => listed.get(part) === etag) };
}

/** Removes the upload that a journal names, and the journal; if S3 refuses, both stay for the next try. */
export async function dropJournal(client: S3Client, journal: string, signal?: AbortSignal): Promise<void> {
  const { header } = await parseJournal(journal);
  if (header !== null) await abortUpload(client, header, signal);
  await rm(journal, { force: true });
}

async function parseJournal(journal: string): Promise<{ header: Header | null; parts: SentPart[] }> {
  const lines = await reopenLines<Header | SentPart>(journal).catch((): (Header | SentPart)[] => []);
  const parts = lines.filter((line): line is SentPart => "part" in line);
  return { header: lines.find((line): line is Header => "uploadId" in line) ?? null, parts };
}

/** How often an upload is aborted: a part that was under way may arrive after the first time, and would be kept and paid for. */
const ABORTS = 5;
/** Milliseconds, times the tries so far, that such a part is given to arrive. */
const WAIT_MS = 200;

/** Removes an upload and its parts; one that the server no longer knows is no error. */
export async function abortUpload(
  client: S3Client,
  { Bucket, Key, uploadId: UploadId }: Target & { readonly uploadId: string },
  signal = new AbortController().signal,
): Promise<void> {
  for (let tried = 1; ; tried++) {
    const known = await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }), { abortSignal: signal }).then(
      () => true,
      (error: Error) => {
        if (statusOf(error) === 404) return false;
        throw error;
      },
    );
    if (!known) return;
    // without the right to list parts, once has to do
    const left = await listParts(client, { Bucket, Key, uploadId: UploadId }, signal).catch(() => null);
    if (left === null || left.size === 0) return;
    if (tried === ABORTS) throw new Error(`an upload still has parts after it was aborted ${ABORTS} times [bucket=${Bucket}, key=${Key}]`);
    await sleep(WAIT_MS * tried, undefined, { signal });
  }
}

/** ETags of the parts that the server has, by number; null when it no longer knows the upload. */
export async function listParts(
  client: S3Client,
  { Bucket, Key, uploadId: UploadId }: Target & { readonly uploadId: string },
  abortSignal: AbortSignal,
): Promise<Map<number, string> | null> {
  const etags = new Map<number, string>();
  let marker: string | undefined;
  do {
    const command = new ListPartsCommand({ Bucket, Key, UploadId, ...(marker === undefined ? {} : { PartNumberMarker: marker }) });
    try {
      const page = await client.send(command, { abortSignal }).catch(during(LIST));
      for (const { PartNumber, ETag } of page.Parts ?? []) etags.set(PartNumber!, ETag!);
      marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
    } catch (error) {
      // servers forget unfinished uploads after days
      if (statusOf(error) === 404 && (error as Error).name !== "NoSuchBucket") return null;
      throw error;
    }
  } while (marker !== undefined);
  return etags;
}

/** Removes other uploads for an object that is whole now, such as one whose process was killed before it was journalled. */
export async function abortStrays(client: S3Client, target: Target, signal: AbortSignal): Promise<void> {
  for (const uploadId of await listUploads(client, target, signal))
    await abortUpload(client, { ...target, uploadId }, signal).catch(() => undefined);
}

/** Unfinished uploads of an object; none without the right to list uploads: then a lifecycle rule has to remove them. */
export async function listUploads(client: S3Client, target: Target, abortSignal: AbortSignal): Promise<string[]> {
  const command = new ListMultipartUploadsCommand({ Bucket: target.Bucket, Prefix: target.Key });
  const listed = await client.send(command, { abortSignal }).catch(() => null);
  return (listed?.Uploads ?? []).filter(({ Key }) => Key === target.Key).map(({ UploadId }) => UploadId!);
}
