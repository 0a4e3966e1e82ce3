import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { digestFile } from "../disk/file-digest.js";
import { sha256 as digestOf } from "../disk/files.js";
import { openStore, parseS3 } from "../store/open-store.js";
import { patiently, patientStore } from "../store/patient-store.js";
import type { S3Settings } from "../store/s3-store.js";
import { ALL_ABILITIES } from "../store/s3-requests.js";
import { readAll, type ObjectStore, type ServerAbilities } from "../store/store.js";
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

/** Key of what the server can, which `noteAbilities` leaves. */
const ABILITIES = "server.json";

/** Leaves word of what a store's server can, as `checkTarget` found it out, to all who open what machines share there. */
export async function noteAbilities(uri: string, settings: S3Settings, abilities: ServerAbilities, signal: AbortSignal): Promise<void> {
  await openStore(uri, { ...settings, abilities }, undefined, signal).write(ABILITIES, Buffer.from(JSON.stringify(abilities)));
}

/** What lies below a prefix ("": none) of `store`, for as long as the signal lets calls go on. Throws UserError for an address that names no place. */
export function openSharedFiles(store: string, prefix: string, settings: S3Settings, sharing: Sharing): SharedFiles {
  const { journals, signal, onNote } = sharing;
  const uri = prefix === "" ? store : `${store}/${prefix}`;
  const open = async (): Promise<ObjectStore> => {
    const noted = await readAll(openStore(store, settings, undefined, signal), ABILITIES);
    const abilities = noted === null ? ALL_ABILITIES : (JSON.parse(noted.toString("utf8")) as ServerAbilities);
    return openStore(uri, { ...settings, abilities }, undefined, signal);
  };
  const files = patientStore(uri, open, signal, onNote);
  return {
    store: files,
    async put(key, path) {
      let done = 0;
      const onBytes = (bytes: number): void => sharing.onBytes((done += bytes));
      await mkdir(journals, { recursive: true });
      const journal = join(journals, digestOf(`${uri}\0${key}`).slice(0, 32));
      await files.putFile(key, path, { digest: await digestFile(path, signal), journal, onBytes, signal });
    },
    async fetch(these) {
      const wanted = these.map(({ key, path, bytes, sha256 }) => ({
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
