import { sha256 } from "../files.js";

/** How objects are kept in a bucket; what is null or empty is left to the bucket. */
export interface ObjectOptions {
  readonly encryption: "AES256" | "aws:kms" | null;
  /** null: the account's own key for S3 */
  readonly kmsKeyId: string | null;
  readonly storageClass: string | null;
  readonly tags: Readonly<Record<string, string>>;
}

/** Everything left to the bucket. */
export const BUCKET_DECIDES: ObjectOptions = { encryption: null, kmsKeyId: null, storageClass: null, tags: {} };

/** The same as parameters of a call that makes an object. */
export function headersOf({ encryption, kmsKeyId, storageClass, tags }: ObjectOptions): {
  ServerSideEncryption?: "AES256" | "aws:kms";
  SSEKMSKeyId?: string;
  StorageClass?: never;
  Tagging?: string;
} {
  return {
    ...(encryption === null ? {} : { ServerSideEncryption: encryption }),
    ...(kmsKeyId === null ? {} : { SSEKMSKeyId: kmsKeyId }),
    // the SDK's list of classes is no bound: other servers have others
    ...(storageClass === null ? {} : { StorageClass: storageClass as never }),
    ...(Object.keys(tags).length === 0 ? {} : { Tagging: new URLSearchParams(tags).toString() }),
  };
}

/** Metadata that tells an object that is kept in another way, so that it is sent again; none where the bucket decides. */
export function keptAs(options: ObjectOptions): { "roslin-kept"?: string } {
  const headers = headersOf(options);
  return Object.keys(headers).length === 0 ? {} : { "roslin-kept": sha256(JSON.stringify(headers)).slice(0, 16) };
}
