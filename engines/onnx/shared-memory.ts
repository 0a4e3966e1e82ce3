import { closeSync, openSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import koffi from "koffi";
import { NoRoomError } from "../../core/errors.js";
import type { Tensor } from "../../core/graph/tensor.js";
import { bytes as readable } from "../../core/units.js";
import type { WeightPlace } from "../../infra/weights/model-files.js";

/** Memory that several processes map: a file under /dev/shm, or under a directory on disk where that is too small; and files of weights. */

const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
/** Mappings begin on pages of any size in use. */
const PAGE_BYTES = 65536;
/** Tensors of a file are mapped together up to so many bytes: each mapping costs a collection of garbage. */
const WINDOW_BYTES = 2 ** 30;

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
      "there is no room for what workers share or keep on disk; free some, or set ROSLIN_HOME or train.offload.directory to a larger disk",
      { file: path, need: readable(bytes) },
      { cause: error },
    );
  } finally {
    await file.close();
  }
}

/**
 * Memory for float arrays of these lengths, zeroed, in a file on disk that has lost its name when this returns: nothing is left of
 * it, however the process ends. The system writes out what it has no memory for. Throws NoRoomError.
 */
export async function mapScratch(path: string, lengths: readonly number[]): Promise<Float32Array[]> {
  const segments: number[] = [0];
  const places = lengths.map((length) => {
    const bytes = Math.ceil((length * 4) / 64) * 64;
    if (segments.at(-1)! > 0 && segments.at(-1)! + bytes > WINDOW_BYTES) segments.push(0);
    const place = { segment: segments.length - 1, offset: segments.at(-1)! };
    segments[place.segment] = place.offset + bytes;
    return place;
  });
  const whole = segments.map((bytes) => Math.max(1, Math.ceil(bytes / PAGE_BYTES)) * PAGE_BYTES);
  await createShared(
    path,
    whole.reduce((sum, bytes) => sum + bytes, 0),
  );
  try {
    const views = mapShared(path, whole);
    return places.map(({ segment, offset }, index) => new Float32Array(views[segment]!, offset, lengths[index]));
  } finally {
    await rm(path, { force: true });
  }
}

const WILL_NEED = 3;
const madvise = libc.func("int madvise(void *address, size_t length, int advice)");

/** Has the system read mapped values from the disk meanwhile, where they are not in memory: a hint, which does not wait. */
export function willNeed({ buffer, byteOffset, byteLength }: Tensor["data"]): void {
  if (byteLength < PAGE_BYTES) return;
  const address = koffi.address(buffer) + BigInt(byteOffset);
  const start = address - (address % BigInt(PAGE_BYTES));
  madvise(start, byteLength + Number(address - start), WILL_NEED);
}

/** What this thread has mapped. */
const mapped: { readonly address: unknown; readonly bytes: number }[] = [];

/** Maps consecutive segments of a file, until `unmapShared` or the end of the process. Views do not cross threads. */
export function mapShared(path: string, segments: readonly number[]): ArrayBuffer[] {
  const file = openSync(path, "r+");
  try {
    let offset = 0;
    return segments.map((bytes) => {
      const view = map(file, path, offset, bytes, PROT_READ_WRITE);
      offset += bytes;
      return view;
    });
  } finally {
    closeSync(file);
  }
}

/** Maps weights where they lie in their files, to be read alone, by name; until `unmapShared` or the end of the process. */
export function mapWeights(places: ReadonlyMap<string, WeightPlace>): Map<string, Tensor["data"]> {
  const found = new Map<string, Tensor["data"]>();
  for (const path of new Set([...places.values()].map((place) => place.path))) {
    const file = openSync(path, "r");
    try {
      const inside = [...places].filter(([, place]) => place.path === path).sort(([, a], [, b]) => a.offset - b.offset);
      for (let first = 0; first < inside.length;) {
        const start = Math.floor(inside[first]![1].offset / PAGE_BYTES) * PAGE_BYTES;
        let next = first + 1;
        while (next < inside.length && endOf(inside[next]![1]) - start <= WINDOW_BYTES) next++;
        const part = inside.slice(first, next);
        const view = map(file, path, start, Math.max(...part.map(([, place]) => endOf(place))) - start, PROT_READ);
        for (const [name, { offset, type, elements }] of part)
          found.set(name, new (type === "float32" ? Float32Array : Uint16Array)(view, offset - start, elements));
        first = next;
      }
    } finally {
      closeSync(file);
    }
  }
  return found;
}

const endOf = ({ offset, type, elements }: WeightPlace): number => offset + elements * (type === "float32" ? 4 : 2);

function map(file: number, path: string, offset: number, bytes: number, protection: number): ArrayBuffer {
  const address: unknown = mmap(null, bytes, protection, MAP_SHARED, file, offset);
  if (koffi.address(address) === 0xffffffffffffffffn) throw new Error(`mmap failed [file=${path}, bytes=${bytes}, offset=${offset}]`);
  mapped.push({ address, bytes });
  return koffi.view(address, bytes);
}

/** Gives back all that this thread has mapped, because its process lives on. Touching a view afterwards kills the process. */
export function unmapShared(): void {
  for (const { address, bytes } of mapped.splice(0)) munmap(address, bytes);
}
