import { closeSync, openSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { DType } from "../core/format/safetensors.js";
import { elements } from "../core/graph/tensor.js";

/** Writes what torch.save writes: a zip archive, Zip64 where it is large, of a pickled dictionary and a file for each tensor. */

/** A tensor of the file. */
export interface ArchivedTensor {
  readonly name: string;
  readonly dtype: keyof typeof STORAGES & DType;
  readonly shape: readonly number[];
}

const STORAGES = { F16: "HalfStorage", U8: "ByteStorage" } as const;
const ROOT = "archive";
/** Tensors begin at multiples of this, as torch's do. */
const ALIGNMENT = 64;
/** What an entry's length and offset are where 32 bits do not hold them. */
const WIDE = 0xffffffff;

/** Writes a file of tensors; `values` gives a tensor's bytes piece by piece. */
export function writeTorchArchive(
  path: string,
  tensors: readonly ArchivedTensor[],
  values: (tensor: ArchivedTensor) => Iterable<Uint8Array>,
): void {
  const archive = new Archive(path);
  try {
    archive.add("data.pkl", [pickle(tensors)]);
    archive.add("byteorder", [Buffer.from("little")]);
    for (const [key, tensor] of tensors.entries()) archive.add(`data/${key}`, values(tensor));
    archive.add("version", [Buffer.from("3\n")]);
    archive.end();
  } finally {
    archive.close();
  }
}

class Archive {
  private readonly file: number;
  private readonly directory: Buffer[] = [];
  private at = 0;

  constructor(path: string) {
    this.file = openSync(path, "wx");
  }

  /** Adds an entry below 4 GiB; its header is written when its length and its check sum are known. */
  add(relative: string, pieces: Iterable<Uint8Array>): void {
    const name = Buffer.from(`${ROOT}/${relative}`);
    const header = this.at;
    const padding = ALIGNMENT - ((header + 30 + name.length + 4) % ALIGNMENT);
    this.at += 30 + name.length + 4 + padding;
    let [bytes, sum] = [0, 0];
    for (const piece of pieces) {
      sum = crc32(piece, sum);
      this.append(piece);
      bytes += piece.length;
    }
    const local = Buffer.alloc(34 + name.length + padding);
    local.writeUInt32LE(0x04034b50);
    this.describe(local, 4, sum, bytes, name.length, 4 + padding);
    name.copy(local, 30);
    local.write("FB", 30 + name.length);
    local.writeUInt16LE(padding, 32 + name.length);
    this.write(local, header);
    const isFar = header >= WIDE;
    const entry = Buffer.alloc(46 + name.length + (isFar ? 12 : 0));
    entry.writeUInt32LE(0x02014b50);
    this.describe(entry, 6, sum, bytes, name.length, isFar ? 12 : 0);
    entry.writeUInt32LE(isFar ? WIDE : header, 42);
    name.copy(entry, 46);
    if (isFar) {
      entry.writeUInt16LE(1, 46 + name.length);
      entry.writeUInt16LE(8, 48 + name.length);
      entry.writeBigUInt64LE(BigInt(header), 50 + name.length);
    }
    this.directory.push(entry);
  }

  /** Writes the directory, Zip64's record and locator, and the record of the end. */
  end(): void {
    const [offset, count] = [this.at, this.directory.length];
    const entries = Buffer.concat(this.directory);
    const tail = Buffer.alloc(56 + 20 + 22);
    tail.writeUInt32LE(0x06064b50);
    tail.writeBigUInt64LE(44n, 4);
    tail.writeUInt16LE(45, 12);
    tail.writeUInt16LE(45, 14);
    for (const at of [24, 32]) tail.writeBigUInt64LE(BigInt(count), at);
    tail.writeBigUInt64LE(BigInt(entries.length), 40);
    tail.writeBigUInt64LE(BigInt(offset), 48);
    tail.writeUInt32LE(0x07064b50, 56);
    tail.writeBigUInt64LE(BigInt(offset + entries.length), 64);
    tail.writeUInt32LE(1, 72);
    tail.writeUInt32LE(0x06054b50, 76);
    for (const at of [84, 86]) tail.writeUInt16LE(count, at);
    tail.writeUInt32LE(entries.length, 88);
    tail.writeUInt32LE(Math.min(offset, WIDE), 92);
    this.append(entries);
    this.append(tail);
  }

  close(): void {
    closeSync(this.file);
  }

  /** What an entry's own header and its line in the directory both say. */
  private describe(header: Buffer, at: number, sum: number, bytes: number, name: number, extra: number): void {
    header.writeUInt16LE(45, at);
    header.writeUInt32LE(sum, at + 10);
    header.writeUInt32LE(bytes, at + 14);
    header.writeUInt32LE(bytes, at + 18);
    header.writeUInt16LE(name, at + 22);
    header.writeUInt16LE(extra, at + 24);
  }

  private append(bytes: Uint8Array): void {
    this.write(bytes, this.at);
    this.at += bytes.length;
  }

  private write(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length;) done += writeSync(this.file, bytes, done, bytes.length - done, at + done);
  }
}

/** The dictionary as torch pickles it, protocol 2, without a memo. */
function pickle(tensors: readonly ArchivedTensor[]): Uint8Array {
  const number = (value: number): Buffer => {
    const bytes = Buffer.from("J0000");
    bytes.writeInt32LE(value, 1);
    return bytes;
  };
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(`X0000${value}`);
    bytes.writeUInt32LE(Buffer.byteLength(value), 1);
    return bytes;
  };
  const code = (value: string): Buffer => Buffer.from(value, "latin1");
  const tuple = (values: readonly number[]): Buffer => Buffer.concat([code("("), ...values.map(number), code("t")]);
  const dictionary = code("ccollections\nOrderedDict\n)R");
  const items = tensors.flatMap(({ name, dtype, shape }, key) => {
    const strides = shape.map((_, axis) => elements(shape.slice(axis + 1)));
    const storage = [code("("), text("storage"), code(`ctorch\n${STORAGES[dtype]}\n`), text(`${key}`), text("cpu")];
    return [
      text(name),
      code("ctorch._utils\n_rebuild_tensor_v2\n("),
      ...storage,
      number(elements(shape)),
      code("tQ"),
      number(0),
      tuple(shape),
      tuple(strides),
      code("\x89"),
      dictionary,
      code("tR"),
    ];
  });
  return Buffer.concat([code("\x80\x02"), dictionary, code("("), ...items, code("u.")]);
}
