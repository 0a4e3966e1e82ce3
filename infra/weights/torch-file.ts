import { closeSync, fstatSync, openSync } from "node:fs";
import { CorruptError, UserError } from "../../core/errors.js";
import { DTYPE_BYTES } from "../../core/format/safetensors.js";
import { gather, isRowMajor, spanOf } from "../../core/format/strides.js";
import { parseTorchPickle, type TorchTensor } from "../../core/format/torch-pickle-tensors.js";
import {
  findZipDirectory,
  parseZipDirectory,
  zipDataOffset,
  ZIP_HEADER_BYTES,
  ZIP_TAIL_BYTES,
  type ZipDirectory,
  type ZipEntry,
} from "../../core/format/zip.js";
import { floatBytes, readFloatsAt, readInto, toFloats, type WeightFile } from "./weight-file.js";

/** The description of 300 tensors takes 40 kB. */
const MAX_PICKLE_BYTES = 8 << 20;
/** A view in another order than its file's is read whole; GPT-J's largest block weight takes as much in fp32. */
const MAX_SPAN_BYTES = 256 << 20;

interface TorchEntry extends TorchTensor {
  /** byte offset in the file of the tensor's first element */
  readonly offset: number;
}

/** A file that torch.save wrote (a zip archive, torch 1.6 and later) open for reading, its tensors checked against its size. */
export class TorchFile implements WeightFile {
  readonly entries: ReadonlyMap<string, TorchEntry>;
  readonly path: string;
  private readonly descriptor: number;
  /** the last view that did not lie in row-major order: its span, because it may be read in slices */
  private held: { readonly name: string; readonly span: Uint8Array<ArrayBuffer> } | null = null;

  constructor(path: string) {
    this.path = path;
    this.descriptor = openSync(path, "r");
    try {
      this.entries = this.index();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  readFloats(name: string, first: number, out: Float32Array): void {
    const entry = this.entries.get(name);
    if (entry === undefined) throw new CorruptError("a tensor is missing", { file: this.path, tensor: name });
    const size = floatBytes(entry.dtype, name, this.path);
    const elements = entry.shape.reduce((product, length) => product * length, 1);
    if (first + out.length > elements) throw new RangeError(`${name}: elements ${first}+${out.length} of ${elements}`);
    if (isRowMajor(entry)) return readFloatsAt(this.descriptor, this.path, entry.offset + first * size, entry.dtype, out);
    const span = this.span(name, entry, size);
    if (size === 4) return gather(entry, new Float32Array(span.buffer), first, out);
    const narrow = new Uint16Array(out.length);
    gather(entry, new Uint16Array(span.buffer), first, narrow);
    toFloats(entry.dtype, new Uint8Array(narrow.buffer), out);
  }

  offsetOf(name: string): number | null {
    const entry = this.entries.get(name);
    return entry !== undefined && isRowMajor(entry) ? entry.offset : null;
  }

  close(): void {
    closeSync(this.descriptor);
  }

  private span(name: string, entry: TorchEntry, size: number): Uint8Array<ArrayBuffer> {
    if (this.held?.name === name) return this.held.span;
    const bytes = spanOf(entry) * size;
    if (bytes > MAX_SPAN_BYTES)
      throw new UserError(
        "a weight lies in another order than its shape says, and is too large to be put right here: save it with .contiguous()",
        {
          file: this.path,
          tensor: name,
          bytes,
          limit: MAX_SPAN_BYTES,
        },
      );
    this.held = null;
    const span = this.bytesAt(entry.offset, bytes);
    this.held = { name, span };
    return span;
  }

  private index(): Map<string, TorchEntry> {
    const bytes = fstatSync(this.descriptor).size;
    this.checkKind(this.bytesAt(0, Math.min(bytes, 64)));
    const tail = Math.min(bytes, ZIP_TAIL_BYTES);
    const directory = findZipDirectory(this.bytesAt(bytes - tail, tail), bytes, this.path);
    const archive = parseZipDirectory(this.bytesAt(directory.offset, directory.bytes), directory, this.path);
    const pickles = [...archive.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
    if (pickles.length !== 1)
      throw new UserError("an archive is not a file of torch.save: it needs one data.pkl", { file: this.path, got: pickles.length });
    const root = pickles[0]!.slice(0, -"data.pkl".length);
    this.checkByteOrder(archive.get(`${root}byteorder`), directory);
    const storages = new Map<string, number>();
    for (const { name, bytes: size } of archive.values())
      if (name.startsWith(`${root}data/`)) storages.set(name.slice(root.length + 5), size);
    const tensors = parseTorchPickle(this.read(archive.get(pickles[0]!)!, directory), storages, this.path);
    const offsets = new Map<string, number>();
    const offsetOf = (key: string): number => {
      const offset = offsets.get(key) ?? this.dataOffset(archive.get(`${root}data/${key}`)!, directory);
      offsets.set(key, offset);
      return offset;
    };
    return new Map(
      [...tensors].map(([name, tensor]) => [
        name,
        { ...tensor, offset: offsetOf(tensor.storage) + tensor.first * DTYPE_BYTES[tensor.dtype] },
      ]),
    );
  }

  private checkKind(start: Uint8Array): void {
    const text = Buffer.from(start).toString("latin1");
    if (text.startsWith("version https://git-lfs"))
      throw new UserError("a weight file is a pointer of Git LFS, not the weights: run `git lfs pull` beside it", { file: this.path });
    if (text.startsWith("\x80"))
      throw new UserError(
        "a weight file has the format of torch before 1.6, which is not read: load it with a later torch and save it again",
        { file: this.path },
      );
    if (!text.startsWith("PK\x03\x04"))
      throw new CorruptError("a weight file is not a torch file: it is not a zip archive", { file: this.path });
  }

  private checkByteOrder(entry: ZipEntry | undefined, directory: ZipDirectory): void {
    if (entry === undefined) return;
    const order = Buffer.from(this.read(entry, directory)).toString("latin1");
    if (order !== "little") throw new UserError("a weight file was written on a big-endian machine, and is not read", { file: this.path });
  }

  /** A small entry's data. */
  private read(entry: ZipEntry, directory: ZipDirectory): Uint8Array {
    if (entry.bytes > MAX_PICKLE_BYTES)
      throw new UserError("a torch file describes more than a model's tensors", {
        file: this.path,
        entry: entry.name,
        bytes: entry.bytes,
        limit: MAX_PICKLE_BYTES,
      });
    return this.bytesAt(this.dataOffset(entry, directory), entry.bytes);
  }

  private dataOffset(entry: ZipEntry, directory: ZipDirectory): number {
    return zipDataOffset(this.bytesAt(entry.header, ZIP_HEADER_BYTES), entry, directory, this.path);
  }

  private bytesAt(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    readInto(this.descriptor, this.path, offset, bytes);
    return bytes;
  }
}
