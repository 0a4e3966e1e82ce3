import { readPlace } from "../../core/config/source-ref.js";
import { UserError } from "../../core/errors.js";
import { fileStoreAt } from "./file-store.js";
import type { ObjectOptions } from "./s3-options.js";
import { s3Store, type S3Settings } from "./s3-store.js";
import type { ObjectStore } from "./store.js";

/** The store that a `file:///directory` or `s3://bucket/prefix` names, and how a bucket is to keep what is written; no call to a bucket outlasts the signal. Throws UserError for anything else. */
export function openStore(uri: string, settings: S3Settings, options?: ObjectOptions, signal?: AbortSignal): ObjectStore {
  if (uri.startsWith("file://")) return fileStoreAt(uri);
  const { bucket, prefix } = parseS3(uri);
  return s3Store(bucket, prefix, settings, options, signal);
}

/** Bucket and prefix ("" for none) of `s3://bucket/prefix`. Throws UserError for anything else. */
export function parseS3(uri: string): { readonly bucket: string; readonly prefix: string } {
  const read = readPlace(uri);
  if (!("bucket" in read)) throw new UserError("a place for objects must be s3://bucket/prefix or file:///directory", { got: uri });
  const { bucket, key: prefix } = read;
  // clients and servers read such paths differently: what was checked might not be what is written
  if (prefix !== "" && prefix.split("/").some((part) => part === "" || part === "." || part === ".."))
    throw new UserError("a prefix may have no empty part, no . and no ..", { got: uri });
  return { bucket, prefix };
}
