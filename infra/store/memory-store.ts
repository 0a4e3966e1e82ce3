import { readFile } from "node:fs/promises";
import { sha256 } from "../disk/files.js";
import type { ObjectStore } from "./store.js";

/** A store in memory, for tests. */
export function memoryStore(uri = "memory://"): ObjectStore {
  const objects = new Map<string, Buffer>();
  return {
    uri,
    read(key, range) {
      const bytes = objects.get(key);
      if (bytes === undefined) return Promise.resolve(null);
      return Promise.resolve(once(range === undefined ? bytes : bytes.subarray(range.start, range.end)));
    },
    write(key, bytes) {
      objects.set(key, Buffer.from(bytes));
      return Promise.resolve();
    },
    create(key, bytes) {
      if (objects.has(key)) return Promise.resolve(false);
      objects.set(key, Buffer.from(bytes));
      return Promise.resolve(true);
    },
    replace(key, bytes, before) {
      const there = objects.get(key);
      const unchanged = before === null ? there === undefined : there?.equals(before) === true;
      if (unchanged) objects.set(key, Buffer.from(bytes));
      return Promise.resolve(unchanged);
    },
    async putFile(key, path, upload) {
      const bytes = await readFile(path, { signal: upload.signal });
      upload.onBytes(bytes.length);
      const there = objects.get(key);
      if (there !== undefined && sha256(there) === upload.digest.sha256) return false;
      objects.set(key, bytes);
      return true;
    },
    discard: () => Promise.resolve(),
    seal(key) {
      const bytes = objects.get(key);
      return Promise.resolve(bytes === undefined ? null : sha256(bytes));
    },
    list(prefix) {
      const found = [...objects].filter(([key]) => key.startsWith(prefix)).map(([key, bytes]) => ({ key, bytes: bytes.length }));
      return Promise.resolve(found.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key))));
    },
    delete(key) {
      objects.delete(key);
      return Promise.resolve();
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
