import { closeSync, fstatSync, openSync } from "node:fs";
import { CorruptError } from "../../core/errors.js";
import { parseGguf, type GgufHeader, type GgufTensor } from "../../core/format/gguf.js";
import { dequantize } from "../../core/format/gguf-blocks.js";
import { GGUF_TYPES, type GgufType } from "../../core/format/gguf-types.js";
import type { DType } from "../../core/format/safetensors.js";
import { refuseLfsPointer } from "../disk/lfs-pointer.js";
import { readFloatsAt, readInto, type WeightFile } from "./weight-file.js";

/** Bytes of the first try at a header; one of 49,152 tokens has 1.7 MB. */
const FIRST_BYTES = 2 << 20;
/** Blocks read and converted at a time: 8 MiB as fp32. */
const BLOCKS = 1 << 16;

/** The dtype that a GGUF's type becomes: quantized elements become fp32, others stay. */
export function dtypeOf(type: GgufType): DType & ("F32" | "F16" | "BF16") {
  return type === "F16" || type === "BF16" ? type : "F32";
}

/** A GGUF open for reading, its header checked against its size; tensors have the names of the file. */
export class GgufFile implements WeightFile {
  readonly path: string;
  readonly header: GgufHeader;
  readonly entries: WeightFile["entries"];
  private readonly descriptor: number;

  /** Throws CorruptError or UserError naming the file. */
  constructor(path: string) {
    this.path = path;
    refuseLfsPointer(path);
    this.descriptor = openSync(path, "r");
    try {
      this.header = this.readHeader();
    } catch (error) {
      this.close();
      throw error;
    }
    this.entries = new Map([...this.header.tensors].map(([name, { type, shape }]) => [name, { dtype: dtypeOf(type), shape }]));
  }

  /** Raw bytes of a tensor from byte `first` of it on. */
  readBytes(name: string, first: number, out: Uint8Array): void {
    const { offset, bytes } = this.tensor(name);
    if (first + out.length > bytes) throw new RangeError(`${name}: bytes ${first}+${out.length} of ${bytes}`);
    readInto(this.descriptor, this.path, offset + first, out);
  }

  readFloats(name: string, first: number, out: Float32Array): void {
    const { type, offset, shape } = this.tensor(name);
    const elements = shape.reduce((product, size) => product * size, 1);
    if (first + out.length > elements) throw new RangeError(`${name}: elements ${first}+${out.length} of ${elements}`);
    if (type === "F32" || type === "F16" || type === "BF16")
      return readFloatsAt(this.descriptor, this.path, offset + first * GGUF_TYPES[type].bytes, type, out);
    const { block, bytes } = GGUF_TYPES[type];
    const end = first + out.length;
    const lastBlock = Math.ceil(end / block);
    for (let at = Math.floor(first / block); at < lastBlock; at += BLOCKS) {
      const count = Math.min(BLOCKS, lastBlock - at);
      const raw = new Uint8Array(count * bytes);
      readInto(this.descriptor, this.path, offset + at * bytes, raw);
      // the first and the last block may be wanted in part
      const [from, to] = [Math.max(first, at * block), Math.min(end, (at + count) * block)];
      const target = out.subarray(from - first, to - first);
      if (target.length === count * block) dequantize(type, raw, target);
      else {
        const values = new Float32Array(count * block);
        dequantize(type, raw, values);
        target.set(values.subarray(from - at * block, to - at * block));
      }
    }
  }

  /** It is converted, and never mapped. */
  offsetOf(): null {
    return null;
  }

  close(): void {
    closeSync(this.descriptor);
  }

  private tensor(name: string): GgufTensor {
    const found = this.header.tensors.get(name);
    if (found === undefined) throw new CorruptError("a tensor is missing", { file: this.path, tensor: name });
    return found;
  }

  private readHeader(): GgufHeader {
    const size = fstatSync(this.descriptor).size;
    for (let length = FIRST_BYTES; ; length *= 2) {
      const start = new Uint8Array(Math.min(length, size));
      readInto(this.descriptor, this.path, 0, start);
      const header = parseGguf(start, size, this.path);
      if (header !== null) return header;
    }
  }
}
