import type { RunConfig } from "../../core/config/schema.js";
import { sha256 } from "../disk/files.js";

/** How objects are kept in a bucket; the bucket decides settings that are null or empty. */
export type ObjectOptions = Readonly<Pick<RunConfig["publish"], "encryption" | "kmsKeyId" | "storageClass" | "tags">>;

/** The bucket decides everything. */
export const BUCKET_DECIDES: ObjectOptions = { encryption: null, kmsKeyId: null, storageClass: null, tags: {} };

/** The same as parameters of a call that makes an object. */
export function headersOf({ encryption, kmsKeyId, storageClass, tags }: ObjectOptions): {
  ServerSideEncryption?: "AES256" | "aws:kms";
  SSEKMSKeyId?: string;
  StorageClass?: NonNullable<ObjectOptions["storageClass"]>;
  Tagging?: string;
} {
  return {
    ...(encryption === null ? {} : { ServerSideEncryption: encryption }),
    ...(kmsKeyId === null ? {} : { SSEKMSKeyId: kmsKeyId }),
    ...(storageClass === null ? {} : { StorageClass: storageClass }),
    ...(Object.keys(tags).length === 0 ? {} : { Tagging: new URLSearchParams(tags).toString() }),
  };
}

/** Metadata that says how an object is kept, so that a changed setting sends it again; empty if the bucket decides. */
export function keptAs(options: ObjectOptions): { "roslin-kept"?: string } {
  const headers = headersOf(options);
  return Object.keys(headers).length === 0 ? {} : { "roslin-kept": sha256(JSON.stringify(headers)).slice(0, 16) };
}

/** The same options one at a time, each with its field of the configuration. */
export function apart(options: ObjectOptions): [field: string, only: ObjectOptions][] {
  const { encryption, kmsKeyId, storageClass, tags } = options;
  const parts: [string, Partial<ObjectOptions>, boolean][] = [
    ["publish.encryption", { encryption, kmsKeyId }, encryption !== null],
    ["publish.storageClass", { storageClass }, storageClass !== null],
    ["publish.tags", { tags }, Object.keys(tags).length > 0],
  ];
  return parts.flatMap(([field, only, set]) => (set ? [[field, { ...BUCKET_DECIDES, ...only }]] : []));
}
