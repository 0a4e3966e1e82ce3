import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { UserError } from "../../core/errors.js";
import { firstNonFinite } from "../../core/format/floats.js";
import { DTYPE_BYTES } from "../../core/format/safetensors.js";
import { MAX_FILE_BYTES, planWeights } from "../../core/format/weight-files.js";
import { elements, indexIn } from "../../core/graph/tensor.js";
import { directoryOfGguf, type GgufDirectory } from "../../core/model/gguf.js";
import type { ConvertedWeight } from "../../core/model/gguf-model.js";
import { checkRoom } from "../sources/remote.js";
import { directoryDigest, sha256, syncDirectory, writeFileAtomic } from "../disk/files.js";
import { dtypeOf, GgufFile } from "./gguf-file.js";
import { writeSafetensors } from "./safetensors-writer.js";

/** A GGUF's model as a directory that Hugging Face's libraries read. */

/** Raised whenever the same GGUF would give other bytes. */
export const CONVERTER = 1;

/** Elements read and converted at a time, so that the event loop turns in between. */
const SLICE = 1 << 21;

/** How a conversion goes. */
export interface ConversionEvents {
  readonly signal: AbortSignal;
  /** how many bytes of weights are written */
  onBytes(done: number): void;
}

/** What a conversion left. */
export interface Converted {
  /** of the directory */
  readonly sha256: string;
  readonly bytes: number;
}

/** What a GGUF on this machine becomes; only its header and small tensors are read. Throws UserError or CorruptError. */
export function readGguf(path: string): GgufDirectory {
  const file = new GgufFile(path);
  try {
    return describe(file);
  } finally {
    file.close();
  }
}

/** Bytes of a directory's weights. */
export function weightBytes({ weights }: GgufDirectory): number {
  return weights.reduce((sum, weight) => sum + bytesOf(weight), 0);
}

/** Makes a directory of a GGUF, whole or not at all; what a kill left of an earlier try is made again. Throws NoRoomError if the disk is too small. Weights of more than `maxFileBytes` become several files. */
export async function convertGguf(
  path: string,
  directory: string,
  { signal, onBytes }: ConversionEvents,
  maxFileBytes: number = MAX_FILE_BYTES,
): Promise<Converted> {
  const file = new GgufFile(path);
  const temporary = `${directory}.tmp`;
  try {
    const described = describe(file);
    const { texts, weights } = described;
    await rm(temporary, { recursive: true, force: true });
    await checkRoom(dirname(directory), weightBytes(described), "ROSLIN_HOME");
    await mkdir(temporary, { recursive: true });
    const plan = planWeights(weights, ({ tensor }) => dtypeOf(tensor.type), maxFileBytes);
    const written: { name: string; sha256: string; bytes: number }[] = [];
    for (const [name, text] of [...texts, ...(plan.index === null ? [] : [[plan.index.name, plan.index.text] as const])]) {
      await writeFileAtomic(join(temporary, name), text);
      written.push({ name, sha256: sha256(text), bytes: Buffer.byteLength(text) });
    }
    let done = 0;
    for (const { name, weights: these } of plan.files) {
      const byName = new Map(these.map((weight) => [weight.name, weight]));
      const tensors = these.map(({ name: weight, shape, tensor }) => ({ name: weight, shape, dtype: dtypeOf(tensor.type) }));
      const slices = async function* (weight: string): AsyncIterable<Uint8Array> {
        for (const slice of slicesOf(file, byName.get(weight)!)) {
          yield slice;
          onBytes((done += slice.length));
          await breathe();
          signal.throwIfAborted();
        }
      };
      written.push({ name, ...(await writeSafetensors(join(temporary, name), tensors, slices)) });
    }
    await rm(directory, { recursive: true, force: true });
    await rename(temporary, directory);
    await syncDirectory(dirname(directory));
    return { sha256: directoryDigest(written), bytes: written.reduce((sum, { bytes }) => sum + bytes, 0) };
  } catch (error) {
    // gigabytes that nobody would go on with
    await rm(temporary, { recursive: true, force: true });
    throw error;
  } finally {
    file.close();
  }
}

function describe(file: GgufFile): GgufDirectory {
  const values = ({ name, shape }: { readonly name: string; readonly shape: readonly number[] }): Float32Array => {
    const floats = new Float32Array(elements(shape));
    file.readFloats(name, 0, floats);
    return floats;
  };
  return directoryOfGguf(file.header, values, file.path);
}

function bytesOf({ shape, tensor }: ConvertedWeight): number {
  return elements(shape) * DTYPE_BYTES[dtypeOf(tensor.type)];
}

/** A weight's bytes in order. */
function* slicesOf(file: GgufFile, weight: ConvertedWeight): Iterable<Uint8Array> {
  const { shape, tensor, pairedRows } = weight;
  const total = elements(shape);
  const size = DTYPE_BYTES[dtypeOf(tensor.type)];
  const width = elements(shape.slice(1));
  // of paired rows whole heads
  const unit = pairedRows === undefined ? 1 : pairedRows * width;
  const step = Math.max(1, Math.floor(SLICE / unit)) * unit;
  for (let first = 0; first < total; first += step) {
    const count = Math.min(step, total - first);
    const bytes = readSlice(file, weight, first, count);
    yield pairedRows === undefined ? bytes : unpaired(bytes, pairedRows, width * size);
  }
}

/** Elements of a tensor as bytes of its dtype. Throws UserError for one that is not finite. */
function readSlice(file: GgufFile, { tensor: { name, type, shape } }: ConvertedWeight, first: number, count: number): Uint8Array {
  const fail = (at: number): never => {
    throw new UserError("a weight of a GGUF is not a finite number: get the file again, or convert a model that is whole", {
      file: file.path,
      tensor: name,
      index: indexIn(shape, first + at),
    });
  };
  if (type !== "F16" && type !== "BF16") {
    const floats = new Float32Array(count);
    file.readFloats(name, first, floats);
    const at = firstNonFinite(floats);
    return at === -1 ? new Uint8Array(floats.buffer) : fail(at);
  }
  const halves = new Uint16Array(count);
  file.readBytes(name, 2 * first, new Uint8Array(halves.buffer));
  const exponent = type === "F16" ? 0x7c00 : 0x7f80;
  for (let at = 0; at < count; at++) if ((halves[at]! & exponent) === exponent) return fail(at);
  return new Uint8Array(halves.buffer);
}

/** Whole heads of rows, each of `rowBytes`: rows 2i and 2i + 1 of a head become i and i + half of it. */
function unpaired(bytes: Uint8Array, rows: number, rowBytes: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < bytes.length / rowBytes; row++) {
    const inHead = row % rows;
    const to = row - inHead + (inHead >> 1) + (inHead & 1 ? rows / 2 : 0);
    out.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), to * rowBytes);
  }
  return out;
}
