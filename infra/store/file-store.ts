import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { link, mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { CorruptError, UserError } from "../../core/errors.js";
import { sha256, sha256File, syncDirectory, withFile } from "../disk/files.js";
import { lock } from "../disk/lock.js";
import { processStart } from "../process/process-start.js";
import type { FileUpload, ObjectStore } from "./store.js";

/** The directory where objects are written before they get their name; no key begins with it. */
const UNFINISHED = ".unfinished";

/** A store in a local directory: durable when a call resolves, `create` exclusive among all processes. */
export function fileStore(directory: string): ObjectStore {
  if (!isAbsolute(directory)) throw new Error(`a file store needs an absolute path [got=${directory}]`);
  let cleared: Promise<void> | null = null;

  const pathOf = (key: string): string => {
    const parts = key.split("/");
    if (parts[0] === UNFINISHED || parts.some((part) => part === "" || part === "." || part === ".."))
      throw new UserError("a key would leave its store", { store: directory, key });
    return join(directory, key);
  };

  /** Lets `fill` write a temporary file, makes it durable, and lets `name` give it its name. */
  const place = async <T>(
    key: string,
    fill: (temporary: string) => Promise<void>,
    name: (temporary: string, path: string) => Promise<T>,
  ): Promise<T> => {
    const path = pathOf(key);
    await makeDirectory(join(directory, UNFINISHED));
    await makeDirectory(dirname(path));
    await (cleared ??= clearDead(join(directory, UNFINISHED)));
    const temporary = join(directory, UNFINISHED, `${hostname()} ${process.pid} ${processStart(process.pid)} ${randomUUID()}`);
    try {
      await fill(temporary);
      await sync(temporary);
      const result = await name(temporary, path);
      await syncDirectory(dirname(path));
      return result;
    } catch (error) {
      throw withFile(error, path);
    } finally {
      await rm(temporary, { force: true });
    }
  };

  return {
    uri: pathToFileURL(directory).href,
    async read(key, range) {
      const path = pathOf(key);
      const info = await stat(path).catch(absent);
      if (info === null || info.isDirectory()) return null;
      return createReadStream(path, range === undefined ? {} : { start: range.start, end: range.end - 1 });
    },
    write: (key, bytes) => place(key, (temporary) => writeFile(temporary, bytes), rename),
    // a link gives a whole file its name, and fails if the name is taken, in one step
    create: (key, bytes) => place(key, (temporary) => writeFile(temporary, bytes), linkUnlessThere),
    async replace(key, bytes, before) {
      if (before === null) return this.create(key, bytes);
      await makeDirectory(join(directory, UNFINISHED));
      const unlock = await lock(join(directory, UNFINISHED, `lock ${sha256(key)}`), new AbortController().signal, () => undefined);
      try {
        const there = await readFile(pathOf(key)).catch(absent);
        if (there?.equals(before) !== true) return false;
        await this.write(key, bytes);
        return true;
      } finally {
        await unlock();
      }
    },
    async putFile(key, path, upload) {
      const { size } = await stat(path);
      const there = await stat(pathOf(key)).catch(absent);
      if (there?.isFile() === true && there.size === size && (await sha256File(pathOf(key), upload.signal)) === upload.digest.sha256) {
        upload.onBytes(size);
        return false;
      }
      await place(key, (temporary) => copy(path, temporary, upload), rename);
      return true;
    },
    // an unfinished object has no name, and is removed with its process
    discard: () => Promise.resolve(),
    async seal(key) {
      const info = await stat(pathOf(key)).catch(absent);
      return info === null ? null : `${info.size} ${info.mtimeMs} ${info.ino}`;
    },
    async list(prefix) {
      const found: { key: string; bytes: number }[] = [];
      const walk = async (below: string): Promise<void> => {
        for (const entry of (await readdir(join(directory, below), { withFileTypes: true }).catch(absent)) ?? []) {
          const key = below + entry.name;
          if (key === UNFINISHED) continue;
          // enter directories on the way to the prefix, and below it
          if (entry.isDirectory()) {
            if (prefix.startsWith(`${key}/`) || key.startsWith(prefix)) await walk(`${key}/`);
          } else if (key.startsWith(prefix)) {
            const info = await stat(join(directory, key)).catch(absent);
            if (info !== null) found.push({ key, bytes: info.size });
          }
        }
      };
      await walk("");
      return found.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    },
    delete: (key) => rm(pathOf(key), { force: true }),
  };
}

/** For `catch`: null if there is no such file. */
function absent(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
  throw error;
}

/** Makes a directory and its parents, so that they survive a power loss. */
async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made));
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function copy(path: string, temporary: string, { digest: { sha256: expected }, onBytes, signal }: FileUpload): Promise<void> {
  const hash = createHash("sha256");
  const counted = async function* (chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
      onBytes(chunk.length);
    }
  };
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), counted, createWriteStream(temporary, { flags: "wx" }), { signal });
  if (hash.digest("hex") !== expected) throw new CorruptError("a file changed before all of it was copied", { file: path, expected });
}

async function linkUnlessThere(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Removes what killed processes of this machine left unfinished. */
async function clearDead(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const [host, pid, start] = name.split(" ");
    if (host === hostname() && processStart(Number(pid)) !== start) await rm(join(directory, name), { force: true });
  }
}

/** The store that `file:///directory` names. Throws UserError if the address does not name a directory of this machine. */
export function fileStoreAt(uri: string): ObjectStore {
  return fileStore(localPath(uri));
}

function localPath(uri: string): string {
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
