import type { FileDigest } from "../disk/file-digest.js";

/** A port over bytes under slash-separated keys: files, S3 or memory behind it. */
export interface ObjectStore {
  /** `file:///dir` or `s3://bucket/prefix`: where keys are relative to. */
  readonly uri: string;
  /** The object's bytes in order, or a part of them (`end` exclusive). Null: there is no object. */
  read(key: string, range?: { readonly start: number; readonly end: number }): Promise<AsyncIterable<Uint8Array> | null>;
  /** Writes an object whole or not at all, durable when it resolves. */
  write(key: string, bytes: Uint8Array): Promise<void>;
  /** Like write, but only if the object does not exist; false: another writer was first. The fence of the commit log. */
  create(key: string, bytes: Uint8Array): Promise<boolean>;
  /** Writes only if the object still is `before` (null: it does not exist); false: another writer has changed it. For pointers that several runs move. */
  replace(key: string, bytes: Uint8Array, before: Uint8Array | null): Promise<boolean>;
  /** Writes a local file of any size like write; false: an object with its digest was there. */
  putFile(key: string, path: string, upload: FileUpload): Promise<boolean>;
  /** Removes what an unfinished `putFile` left, if it will not go on. */
  discard(journal: string): Promise<void>;
  /** What the store itself says of an object, without reading it; it changes whenever other bytes are written. Null: there is no object. */
  seal(key: string): Promise<string | null>;
  /** Every object below a prefix, by name in byte order. */
  list(prefix: string): Promise<readonly { readonly key: string; readonly bytes: number }[]>;
  /** Removes an object; a missing one is not an error. */
  delete(key: string): Promise<void>;
}

/** What a server does beyond keeping bytes. `checkTarget` finds it out. */
export interface ServerAbilities {
  /**
   * It compares every object and part with the SHA-256 that is sent with it, and completes uploads with these. False: none is
   * sent, and what was uploaded is read back and compared here.
   */
  readonly checksums: boolean;
  /** it keeps an object's user metadata */
  readonly metadata: boolean;
}

/** What a target can. */
export interface TargetCheck {
  /** for the settings of a store that writes there */
  readonly abilities: ServerAbilities;
  /** a sentence about what the server does not check, and what is done instead; absent if it checks all */
  readonly note?: string;
}

/** What a large upload needs besides its bytes. */
export interface FileUpload {
  /** of the file as it is to arrive */
  readonly digest: FileDigest;
  /** a local file that lists the parts that have arrived: after a kill the upload goes on from there */
  readonly journal: string;
  /** hears how many bytes more have arrived, those of an earlier attempt too */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** A whole small object, such as a manifest; null: there is no object. */
export async function readAll(store: Pick<ObjectStore, "read">, key: string): Promise<Buffer | null> {
  const chunks = await store.read(key);
  if (chunks === null) return null;
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}
