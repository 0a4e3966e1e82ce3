import type {
  CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommandInput,
  HeadObjectCommandInput,
  PutObjectCommandInput,
  UploadPartCommandInput,
} from "@aws-sdk/client-s3";
import { sha256 } from "../disk/files.js";
import type { SentPart, Target } from "./s3-journal.js";
import { headersOf, keptAs, type ObjectOptions } from "./s3-options.js";
import type { ServerAbilities } from "./store.js";

/** The requests that make and look at objects, in the form that a server takes. Everything in which servers differ is decided here. */

/** What Amazon's can, and most others. */
export const ALL_ABILITIES: ServerAbilities = { checksums: true, metadata: true };

/** A part, or a whole object, as it is sent. */
interface Sent {
  readonly Body: Uint8Array;
  /** in base64 */
  readonly checksum: string;
}

/** A SHA-256 in base64, as S3 has it. */
export function checksumOfBytes(bytes: Uint8Array): string {
  return inBase64(sha256(bytes));
}

/** A SHA-256 in hex, in base64 as S3 has it. */
export function inBase64(hex: string): string {
  return Buffer.from(hex, "hex").toString("base64");
}

/** PutObject of an object whose metadata has its SHA-256, so that a later upload of the same bytes sends nothing. */
export function putInput(
  can: ServerAbilities,
  target: Target,
  { Body, checksum }: Sent,
  options: ObjectOptions,
  more: Readonly<Record<string, string>> = {},
): PutObjectCommandInput {
  const hex = Buffer.from(checksum, "base64").toString("hex");
  return { ...target, ...headersOf(options), Body, ...sum(can, checksum), ...metadata(can, hex, options, more) };
}

/** CreateMultipartUpload of an object with that SHA-256, in hex. */
export function createInput(can: ServerAbilities, target: Target, hex: string, options: ObjectOptions): CreateMultipartUploadCommandInput {
  const algorithm = can.checksums ? { ChecksumAlgorithm: "SHA256" as const } : {};
  return { ...target, ...headersOf(options), ...algorithm, ...metadata(can, hex, options) };
}

/** UploadPart. */
export function partInput(
  can: ServerAbilities,
  upload: Target & { readonly UploadId: string },
  part: number,
  { Body, checksum }: Sent,
): UploadPartCommandInput {
  return { ...upload, PartNumber: part, Body, ...sum(can, checksum) };
}

/** CompleteMultipartUpload. */
export function completeInput(
  can: ServerAbilities,
  upload: Target & { readonly UploadId: string },
  sent: readonly Pick<SentPart, "part" | "etag" | "sha256">[],
): CompleteMultipartUploadCommandInput {
  const Parts = sent.map(({ part, etag, sha256: checksum }) => ({ PartNumber: part, ETag: etag, ...sum(can, checksum) }));
  return { ...upload, MultipartUpload: { Parts } };
}

/** HeadObject. */
export function headInput(can: ServerAbilities, target: Target): HeadObjectCommandInput {
  return { ...target, ...(can.checksums ? { ChecksumMode: "ENABLED" as const } : {}) };
}

function sum({ checksums }: ServerAbilities, ChecksumSHA256: string): { ChecksumSHA256?: string } {
  return checksums ? { ChecksumSHA256 } : {};
}

function metadata(
  can: ServerAbilities,
  hex: string,
  options: ObjectOptions,
  more: Readonly<Record<string, string>> = {},
): { Metadata?: Record<string, string> } {
  return can.metadata ? { Metadata: { sha256: hex, ...keptAs(options), ...more } } : {};
}
