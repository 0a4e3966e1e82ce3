/** Torch files made by hand, to say what torch would not: archives and pickles. */

export interface ArchiveOptions {
  /** sizes and offsets in Zip64's fields, as in files above 4 GB */
  readonly zip64?: boolean;
  readonly comment?: string;
  readonly method?: number;
  readonly flags?: number;
}

/** An entry's data; a number stands for so many zeros. */
export type Entry = readonly [name: string, data: Uint8Array | number];

/** A zip archive of stored entries. */
export function archive(entries: readonly Entry[], options: ArchiveOptions = {}): Buffer {
  return Buffer.concat(archiveParts(entries, options).map((part) => (typeof part === "number" ? Buffer.alloc(part) : part)));
}

/** The archive in parts, of which zeros can become holes of a file. */
export function archiveParts(entries: readonly Entry[], options: ArchiveOptions = {}): (Uint8Array | number)[] {
  const { zip64 = false, comment = "", method = 0, flags = 0 } = options;
  const parts: (Uint8Array | number)[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  const add = (...added: (Uint8Array | number)[]): void => {
    for (const part of added) at += typeof part === "number" ? part : part.length;
    parts.push(...added);
  };
  const small = (value: number): number => (zip64 ? 0xffffffff : value);
  const padding = Buffer.from("FB\x03\0\0\0\0", "latin1");
  for (const [name, data] of entries) {
    const header = at;
    const bytes = typeof data === "number" ? data : data.length;
    add(le([4, 0x04034b50], [2, 20], [2, flags], [2, method], [4, 0], [4, 0], [4, small(bytes)], [4, small(bytes)], [2, name.length]));
    add(le([2, padding.length]), Buffer.from(name), padding, data);
    const other = le([2, 0x4246], [2, 1], [1, 0]);
    const extra = zip64 ? Buffer.concat([other, le([2, 1], [2, 24], [8, bytes], [8, bytes], [8, header])]) : other;
    directory.push(
      le([4, 0x02014b50], [2, 20], [2, 20], [2, flags], [2, method], [4, 0], [4, 0], [4, small(bytes)], [4, small(bytes)]),
      le([2, name.length], [2, extra.length], [2, 0], [2, 0], [2, 0], [4, 0], [4, small(header)]),
      Buffer.from(name),
      extra,
    );
  }
  const offset = at;
  const index = Buffer.concat(directory);
  add(index);
  if (zip64) {
    const record = at;
    add(le([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, entries.length], [8, entries.length]));
    add(le([8, index.length], [8, offset], [4, 0x07064b50], [4, 0], [8, record], [4, 1]));
  }
  const [count, bytes, start] = zip64 ? [0xffff, 0xffffffff, 0xffffffff] : [entries.length, index.length, offset];
  add(le([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, bytes], [4, start], [2, comment.length]), Buffer.from(comment));
  return parts;
}

/** Little-endian fields of [bytes, value]. */
function le(...fields: readonly (readonly [bytes: number, value: number])[]): Buffer {
  return Buffer.concat(
    fields.map(([bytes, value]) => {
      const field = Buffer.alloc(8);
      field.writeBigUInt64LE(BigInt(value));
      return field.subarray(0, bytes);
    }),
  );
}

/** Pieces of pickles: each pushes one value, or does what its name says. */
export const pickle = {
  text: (value: string): Buffer => Buffer.concat([Buffer.from("X"), le([4, Buffer.byteLength(value)]), Buffer.from(value)]),
  int: (value: number): Buffer => {
    const bytes = Buffer.alloc(5, "J");
    bytes.writeInt32LE(value, 1);
    return bytes;
  },
  /** LONG1 of these little-endian bytes */
  long: (...bytes: readonly number[]): Buffer => Buffer.from([0x8a, bytes.length, ...bytes]),
  global: (module: string, name: string): Buffer => Buffer.from(`c${module}\n${name}\n`),
  tuple: (...items: readonly Buffer[]): Buffer => Buffer.concat([Buffer.from("("), ...items, Buffer.from("t")]),
  call: (callable: Buffer, ...args: readonly Buffer[]): Buffer => Buffer.concat([callable, pickle.tuple(...args), Buffer.from("R")]),
  dictionary: (items: Readonly<Record<string, Buffer>>): Buffer =>
    Buffer.concat([Buffer.from("}("), ...Object.entries(items).flatMap(([key, value]) => [pickle.text(key), value]), Buffer.from("u")]),
  whole: (value: Buffer): Buffer => Buffer.concat([Buffer.from("\x80\x02", "latin1"), value, Buffer.from(".")]),
};

export interface TensorPieces {
  readonly storage?: string;
  readonly key?: string;
  readonly elements?: Buffer;
  readonly first?: Buffer;
  readonly shape?: readonly Buffer[];
  readonly stride?: readonly Buffer[];
}

/** The pickle of a tensor: by default all six elements, [2, 3], of storage "0". */
export function pickledTensor(pieces: TensorPieces = {}): Buffer {
  const { int, text, tuple, call, global } = pickle;
  const {
    storage = "FloatStorage",
    key = "0",
    elements = int(6),
    first = int(0),
    shape = [int(2), int(3)],
    stride = [int(3), int(1)],
  } = pieces;
  const id = Buffer.concat([tuple(text("storage"), global("torch", storage), text(key), text("cpu"), elements), Buffer.from("Q")]);
  const hooks = call(global("collections", "OrderedDict"));
  return call(
    global("torch._utils", "_rebuild_tensor_v2"),
    id,
    first,
    tuple(...shape),
    tuple(...stride),
    Buffer.from("\x89", "latin1"),
    hooks,
  );
}
