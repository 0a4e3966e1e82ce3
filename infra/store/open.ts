import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../../core/errors.js";
import { fileStore } from "./files.js";
import { s3Store, type S3Settings } from "./s3.js";
import type { ObjectStore } from "./store.js";

/** The store that a `file:///directory` or `s3://bucket/prefix` names. Throws UserError for anything else. */
export function openStore(uri: string, settings: S3Settings): ObjectStore {
  if (uri.startsWith("file://")) return fileStore(pathOf(uri));
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(uri);
  if (match === null) throw new UserError("a place for objects must be s3://bucket/prefix or file:///directory", { got: uri });
  return s3Store(match[1]!, (match[2] ?? "").replace(/^\/+|\/+$/g, ""), settings);
}

function pathOf(uri: string): string {
  try {
    const path = fileURLToPath(uri);
    if (isAbsolute(path)) return path;
  } catch (error) {
    throw new UserError(
      "a file URI must name an absolute path of this machine",
      { got: uri, expected: "file:///directory" },
      { cause: error },
    );
  }
  throw new UserError("a file URI must name an absolute path of this machine", { got: uri, expected: "file:///directory" });
}
