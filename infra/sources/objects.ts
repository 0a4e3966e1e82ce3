import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { messageOf, UserError } from "../../core/errors.js";
import { isOfDisk, PassingError, type Timing } from "../http/retries.js";
import { NoRangesError } from "../http/web.js";
import { s3Error, statusOf } from "../store/s3-errors.js";
import { hasRange, refused, sameVersion } from "../store/s3-read.js";
import { clientOf, type S3Settings } from "../store/s3-store.js";
import type { ReadBytes, Source } from "../transfer/source.js";

/** A bucket whose objects a download lists with their versions, and reads in ranges of one version. */
export interface ObjectAccess {
  readonly settings: S3Settings;
  readonly bucket: string;
  readonly timing?: Timing;
}

/** An object as a listing tells of it. */
export interface ListedObject {
  readonly key: string;
  readonly bytes: number;
  /** changes with the bytes; without quotes */
  readonly etag: string;
}

/** What an object says of its bytes. */
export interface ObjectDigest {
  readonly kind: "sha256" | "md5";
  readonly hex: string;
}

const bare = (etag: string | undefined): string => (etag ?? "").replaceAll('"', "");

function worded(access: ObjectAccess, error: unknown, doing: string, key?: string): Error {
  const call = { doing, right: key === undefined ? "s3:ListBucket" : "s3:GetObject" };
  return s3Error(error, call, { bucket: access.bucket, endpoint: access.settings.endpoint ?? "amazonaws.com" }, key);
}

/** Every object whose key is `prefix` or lies below it ("" for all). Errors as `s3Error` words them. */
export async function listObjects(access: ObjectAccess, prefix: string, abortSignal: AbortSignal): Promise<ListedObject[]> {
  const found: ListedObject[] = [];
  let token: string | undefined;
  do {
    const page = await clientOf(access.settings, access.bucket)
      .send(
        new ListObjectsV2Command({ Bucket: access.bucket, Prefix: prefix, ...(token === undefined ? {} : { ContinuationToken: token }) }),
        { abortSignal },
      )
      .catch((error: unknown) => {
        throw worded(access, error, "listing a source");
      });
    for (const { Key, Size, ETag } of page.Contents ?? []) {
      const key = Key!;
      const inside = prefix === "" || key === prefix || key.startsWith(`${prefix}/`);
      if (inside && !key.endsWith("/")) found.push({ key, bytes: Size ?? 0, etag: bare(ETag) });
    }
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return found;
}

/** The digest that is known of an object's bytes: the sha256 that Roslin or the server keeps beside it, or the MD5 that an ETag is; null: neither. */
export async function digestOfObject(access: ObjectAccess, key: string, abortSignal: AbortSignal): Promise<ObjectDigest | null> {
  const { Metadata, ETag, ChecksumSHA256, ChecksumType, ServerSideEncryption, SSECustomerAlgorithm } = await clientOf(
    access.settings,
    access.bucket,
  )
    .send(new HeadObjectCommand({ Bucket: access.bucket, Key: key, ChecksumMode: "ENABLED" }), { abortSignal })
    .catch((error: unknown) => {
      throw worded(access, error, "looking at a source", key);
    });
  const kept = Metadata?.["sha256"];
  if (kept !== undefined && /^[0-9a-f]{64}$/.test(kept)) return { kind: "sha256", hex: kept };
  if (ChecksumSHA256 !== undefined && ChecksumType !== "COMPOSITE" && !ChecksumSHA256.includes("-"))
    return { kind: "sha256", hex: Buffer.from(ChecksumSHA256, "base64").toString("hex") };
  // of objects in parts, or encrypted with a key of its own, the ETag is something else
  const plain = ServerSideEncryption?.startsWith("aws:kms") !== true && SSECustomerAlgorithm === undefined;
  return plain && /^[0-9a-f]{32}$/.test(bare(ETag)) ? { kind: "md5", hex: bare(ETag) } : null;
}

/** An object as a transfer thread reads it. */
export interface S3Object {
  readonly access: ObjectAccess;
  readonly key: string;
  /** of the version that is read; null: whichever is there */
  readonly etag: string | null;
}

/** The source of an object. */
export function objectSource(object: S3Object): Source {
  const { access, key } = object;
  return { module: import.meta.url, place: object, address: `s3://${access.bucket}/${key}`, timing: access.timing };
}

/** Reads an object, or a range of it, with one GET. Throws UserError if the object has changed or is gone. */
export const read: ReadBytes<S3Object> = async ({ access, key, etag }, range, { take }) => {
  const Range = range === null ? {} : { Range: `bytes=${range.start}-${range.end - 1}` };
  // a server may list no ETags
  const IfMatch = !etag ? {} : { IfMatch: `"${etag}"` };
  try {
    const answer = await clientOf(access.settings, access.bucket).send(
      new GetObjectCommand({ Bucket: access.bucket, Key: key, ...Range, ...IfMatch }),
    );
    if (range !== null && !hasRange(answer, range))
      refused(answer, new NoRangesError(`no ranges of bytes from s3://${access.bucket}/${key}`));
    const { Body } = sameVersion(answer, etag || undefined);
    for await (const chunk of Body as AsyncIterable<Uint8Array>) await take(chunk);
  } catch (error) {
    if (error instanceof UserError || error instanceof NoRangesError || isOfDisk(error)) throw error;
    const where = { source: `s3://${access.bucket}/${key}` };
    if (statusOf(error) === 412) throw new UserError("an object changed while it was downloaded: start again", where);
    if (statusOf(error) === 404) throw new UserError("an object is gone", where);
    const known = worded(access, error, "reading a source", key);
    throw known instanceof UserError ? known : new PassingError(messageOf(known), 0, { cause: error });
  }
};
