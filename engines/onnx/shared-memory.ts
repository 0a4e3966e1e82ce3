import { closeSync, openSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import koffi from "koffi";
import { NoRoomError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";

/** Memory that several processes map: a file under /dev/shm, or under a directory on disk where that is too small. */

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

const libc = koffi.load(process.platform === "darwin" ? "libSystem.dylib" : "libc.so.6");
const mmap = libc.func("void *mmap(void *address, size_t length, int protection, int flags, int file, int64_t offset)");
const munmap = libc.func("int munmap(void *address, size_t length)");

/** Creates the file, which must not exist, with every byte allocated: a tmpfs that is full later kills with SIGBUS. Throws NoRoomError. */
export async function createShared(path: string, bytes: number): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    const zeros = Buffer.alloc(Math.min(bytes, 8 << 20));
    for (let done = 0; done < bytes;) done += (await file.write(zeros, 0, Math.min(zeros.length, bytes - done))).bytesWritten;
  } catch (error) {
    await rm(path, { force: true });
    throw new NoRoomError(
      "there is no room for the weights that workers share; free some, or set ROSLIN_HOME to a larger disk",
      { file: path, need: readable(bytes) },
      { cause: error },
    );
  } finally {
    await file.close();
  }
}

/** What this thread has mapped. */
const mapped: { readonly address: unknown; readonly bytes: number }[] = [];

/** Maps consecutive segments of a file, until `unmapShared` or the end of the process. Views do not cross threads. */
export function mapShared(path: string, segments: readonly number[]): ArrayBuffer[] {
  const file = openSync(path, "r+");
  try {
    let offset = 0;
    return segments.map((bytes) => {
      const address: unknown = mmap(null, bytes, PROT_READ_WRITE, MAP_SHARED, file, offset);
      if (koffi.address(address) === 0xffffffffffffffffn) throw new Error(`mmap failed [file=${path}, bytes=${bytes}, offset=${offset}]`);
      mapped.push({ address, bytes });
      offset += bytes;
      return koffi.view(address, bytes);
    });
  } finally {
    closeSync(file);
  }
}

/** Gives back all that this thread has mapped, because its process lives on. Touching a view afterwards kills the process. */
export function unmapShared(): void {
  for (const { address, bytes } of mapped.splice(0)) munmap(address, bytes);
}
