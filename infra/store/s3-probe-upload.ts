import { createHash } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  UploadPartCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { messageOf, UserError } from "../../core/errors.js";
import { checksumOf, type FileDigest } from "../disk/file-digest.js";
import { sha256 } from "../disk/files.js";
import { PROBE, PROBE_BYTES } from "./probe.js";
import { refusesForm, statusOf, type Call } from "./s3-errors.js";
import { abortUpload, listParts, type Target } from "./s3-journal.js";
import type { ObjectOptions } from "./s3-options.js";
import { checksumOfBytes, completeInput, createInput, headInput, inBase64, partInput } from "./s3-requests.js";
import type { ObjectStore, ServerAbilities } from "./store.js";

/** A bucket, and the object in it that is written and removed. */
export interface ProbePlace {
  readonly client: S3Client;
  readonly object: Target;
  readonly options: ObjectOptions;
  readonly signal: AbortSignal;
  /** Throws the error for people. */
  failed(call: Call, error: unknown, condition?: string): never;
}

/** S3 takes no smaller part before the last. */
const PART_BYTES = 5 << 20;

/** An object in two parts, and its digests. */
function sample(): { readonly parts: readonly Buffer[]; readonly digest: FileDigest } {
  const parts = [Buffer.alloc(PART_BYTES, PROBE_BYTES), PROBE_BYTES];
  const bytes = PART_BYTES + PROBE_BYTES.length;
  return { parts, digest: { bytes, sha256: sha256(Buffer.concat(parts)), parts: parts.map(checksumOfBytes) } };
}

const CALLS = {
  upload: { doing: "uploading an object in parts", right: "s3:PutObject" },
  list: { doing: "listing an upload's parts", right: "s3:ListMultipartUploadParts" },
  abort: { doing: "removing an unfinished upload", right: "s3:AbortMultipartUpload" },
} as const satisfies Record<string, Call>;

/**
 * Uploads an object in two parts, and begins an upload that is removed. With checksums: why the server does not compare them,
 * in words; null: it compares them. Without: null, and the object was read back. Throws UserError for what publishing cannot do
 * without, and other errors if another run may have been in the way.
 */
export async function tryUpload(place: ProbePlace, can: ServerAbilities, store: ObjectStore): Promise<string | null> {
  const { client, object, options, signal, failed } = place;
  const { parts, digest } = sample();
  const create = async (): Promise<string> => {
    const command = new CreateMultipartUploadCommand(createInput(can, object, digest.sha256, options));
    return (await client.send(command, { abortSignal: signal })).UploadId!;
  };
  const send = async (UploadId: string, index: number, checksum = digest.parts[index]!): Promise<string> => {
    const sent = { Body: parts[index]!, checksum };
    const command = new UploadPartCommand(partInput(can, { ...object, UploadId }, index + 1, sent));
    return (await client.send(command, { abortSignal: signal })).ETag!;
  };
  const abort = (uploadId: string): Promise<void> =>
    abortUpload(client, { ...object, uploadId }, signal).catch((error: unknown) => failed(CALLS.abort, error));

  let uploadId: string | null = null;
  try {
    uploadId = await create();
    if (can.checksums && (await isTaken(send(uploadId, 1, digest.parts[0])))) {
      await abort(uploadId);
      return "it takes a part that does not have the SHA-256 that was sent with it";
    }
    // removed as after a failure, with the part that was refused
    await abort(uploadId);
    uploadId = await create();
    const etags = [await send(uploadId, 0), await send(uploadId, 1)];
    await listParts(client, { ...object, uploadId }, signal).catch((error: unknown) => failed(CALLS.list, error));
    const sent = etags.map((etag, index) => ({ part: index + 1, etag, sha256: digest.parts[index]! }));
    await client.send(new CompleteMultipartUploadCommand(completeInput(can, { ...object, UploadId: uploadId }, sent)), {
      abortSignal: signal,
    });
    uploadId = null;
  } catch (error) {
    if (uploadId !== null) await abortUpload(client, { ...object, uploadId }, signal).catch(() => undefined);
    if (can.checksums && refusesForm(error)) return `it refuses an upload in parts that is sent with one (${messageOf(error)})`;
    return failed(CALLS.upload, error);
  }
  return await judgeWhole(place, can, store, digest);
}

/** Whether a server takes what it should refuse. */
async function isTaken(sent: Promise<unknown>): Promise<boolean> {
  try {
    await sent;
    return true;
  } catch (error) {
    // 403: the signature covers the digest, and some servers say that it is wrong
    if (statusOf(error) === 403 || refusesForm(error)) return false;
    throw error;
  }
}

/** The same as `tryUpload`, about the object that was put together. */
async function judgeWhole(
  { client, object, signal }: ProbePlace,
  can: ServerAbilities,
  store: ObjectStore,
  digest: FileDigest,
): Promise<string | null> {
  const disturbed = (): Error => new Error("an object that was uploaded is gone, perhaps because another run removed it: try again");
  const there = await client.send(new HeadObjectCommand(headInput(can, object)), { abortSignal: signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw [403, 404].includes(statusOf(error) ?? 0) ? disturbed() : error;
  });
  if (there.ContentLength === PROBE_BYTES.length) throw disturbed();
  if (there.ContentLength !== digest.bytes)
    throw new UserError("the server gives an object that came in parts another size than it has: publish to another", {
      target: store.uri,
      expected: digest.bytes,
      got: there.ContentLength,
    });
  if (can.checksums) {
    const { ChecksumSHA256: kept } = there;
    const right = [checksumOf(digest), inBase64(digest.sha256)];
    return kept === undefined || right.includes(kept) ? null : "it keeps another one than was sent";
  }
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of (await store.read(PROBE)) ?? []) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  if (bytes !== digest.bytes) throw disturbed();
  const got = hash.digest("hex");
  if (got !== digest.sha256)
    throw new UserError("the server does not check what is sent, and gives back other bytes than it was given: publish to another", {
      target: store.uri,
      expected: digest.sha256,
      got,
    });
  return null;
}
