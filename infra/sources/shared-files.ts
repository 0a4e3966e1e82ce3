import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { digestFile } from "../disk/file-digest.js";
import { sha256 as digestOf } from "../disk/files.js";
import { openStore, parseS3 } from "../store/open-store.js";
import { patiently, patientStore } from "../store/patient-store.js";
import type { S3Settings } from "../store/s3-store.js";
import type { ObjectStore } from "../store/store.js";
import { fetchAll } from "../transfer/fetch.js";
import { fileSource } from "../transfer/file-source.js";
import type { Source } from "../transfer/source.js";
import { objectSource } from "./objects.js";

/** A file that machines share: its key in their store, where it lies on this machine, and its digest. */
export interface SharedFile {
  readonly key: string;
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** How files travel, and what happens meanwhile. */
export interface Sharing {
  /** directory of this machine for lists of the parts that have arrived */
  readonly journals: string;
  readonly signal: AbortSignal;
  /** how many bytes of the files at hand have arrived */
  onBytes(done: number): void;
  onNote(note: string): void;
}

/** Files below a place that several machines reach: a bucket's prefix, or a directory of a disk that all of them see. */
export interface SharedFiles {
  /** its calls wait for a store that cannot answer */
  readonly store: ObjectStore;
  /** Sends a file unless the store has it; a send that was broken off goes on. */
  put(key: string, path: string): Promise<void>;
  /** Brings files here, each under its path when it is whole; those that are here are only digested. Throws UserError if one is gone or has the wrong digest twice. */
  fetch(files: readonly SharedFile[]): Promise<void>;
}

/** What lies below `uri`, for as long as the signal lets calls go on. Throws UserError for an address that names no place. */
export function openSharedFiles(uri: string, settings: S3Settings, sharing: Sharing): SharedFiles {
  const { journals, signal, onNote } = sharing;
  const store = patientStore(openStore(uri, settings, undefined, signal), signal, onNote);
  return {
    store,
    async put(key, path) {
      let done = 0;
      const onBytes = (bytes: number): void => sharing.onBytes((done += bytes));
      await mkdir(journals, { recursive: true });
      const journal = join(journals, digestOf(`${uri}\0${key}`).slice(0, 32));
      await store.putFile(key, path, { digest: await digestFile(path, signal), journal, onBytes, signal });
    },
    async fetch(files) {
      const wanted = files.map(({ key, path, bytes, sha256 }) => ({
        name: key,
        blob: path,
        bytes,
        source: sourceOf(uri, settings, key),
        digest: { kind: "sha256" as const, hex: sha256 },
      }));
      await patiently(signal, onNote, () => fetchAll(wanted, sharing));
    },
  };
}

function sourceOf(uri: string, settings: S3Settings, key: string): Source {
  if (uri.startsWith("file:")) return fileSource(join(fileURLToPath(uri), key));
  const { bucket, prefix } = parseS3(uri);
  return objectSource({ access: { settings, bucket }, key: prefix === "" ? key : `${prefix}/${key}`, etag: null });
}
