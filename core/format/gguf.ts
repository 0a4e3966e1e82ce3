import { CorruptError, UserError } from "../errors.js";
import { GgufCursor, MoreBytes } from "./gguf-cursor.js";
import { readGgufValue, type GgufValue } from "./gguf-values.js";
import { GGUF_TYPES, ggmlName, isGgufType, type GgufType } from "./gguf-types.js";

/** GGUF: a header of named values and a table of tensors, then the tensors' bytes, each aligned. Versions 2 and 3, little-endian. */

/** A tensor of a GGUF. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgufType;
  /** row-major, as torch has it: GGUF itself begins with the innermost */
  readonly shape: readonly number[];
  /** byte offset in the file */
  readonly offset: number;
  readonly bytes: number;
}

/** What a GGUF's header says. */
export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

const VERSIONS: readonly number[] = [2, 3];
/** The alignment of files that name none. */
const ALIGNMENT = 32;
/** The format's own bounds of a key and of dimensions, GGML's of a tensor's name; and more entries and tensors than any model has. */
const LIMITS = { keyBytes: 65_535, nameBytes: 64, dimensions: 4, entries: 1 << 16, tensors: 1 << 16, alignment: 1 << 20 };

/**
 * Reads a header from a file's first bytes; null: the header goes on after them. Checks that every tensor lies aligned inside
 * the file and over no other. Throws CorruptError or UserError naming the file, `where`.
 */
export function parseGguf(start: Uint8Array, fileBytes: number, where: string): GgufHeader | null {
  try {
    return parse(new GgufCursor(start, fileBytes, where), fileBytes, where);
  } catch (error) {
    if (error instanceof MoreBytes) return null;
    throw error;
  }
}

function parse(cursor: GgufCursor, fileBytes: number, where: string): GgufHeader {
  checkVersion(cursor, where);
  const tensorCount = cursor.uint64("the number of tensors", LIMITS.tensors);
  const entryCount = cursor.uint64("the number of values", LIMITS.entries);
  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < entryCount; index++) {
    const key = cursor.text(`the name of value ${index}`, LIMITS.keyBytes);
    if (metadata.has(key)) throw cursor.damage("a GGUF has a value twice", { key });
    metadata.set(key, readGgufValue(cursor, key));
  }
  checkWhole(metadata, where);
  const table = Array.from({ length: tensorCount }, (_, index) => readTensor(cursor, index));
  const alignment = alignmentOf(metadata, where);
  const data = Math.ceil(cursor.at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const tensor of table) {
    if (tensors.has(tensor.name)) throw cursor.damage("a GGUF has a tensor twice", { tensor: tensor.name });
    if (tensor.offset % alignment !== 0)
      throw cursor.damage("a GGUF's tensor is not aligned", { tensor: tensor.name, offset: tensor.offset, alignment });
    tensors.set(tensor.name, { ...tensor, offset: data + tensor.offset });
  }
  checkPlaces([...tensors.values()], fileBytes, where);
  return { metadata, tensors };
}

function checkVersion(cursor: GgufCursor, where: string): void {
  const magic = cursor.uint32("its first four bytes");
  if (magic !== 0x46554747) throw cursor.damage("a file is not a GGUF: it does not begin with GGUF", {});
  const version = cursor.uint32("its version");
  if (VERSIONS.includes(version)) return;
  // swapped, a small version has its byte at the other end
  const isSwapped = version !== 0 && version % 0x1000000 === 0;
  throw new UserError(
    isSwapped
      ? "a GGUF is big-endian, and is not read: convert the model again on this kind of machine"
      : "a GGUF of this version is not read",
    { file: where, expected: `version ${VERSIONS.join(" or ")}`, ...(isSwapped ? {} : { got: version }) },
  );
}

/** Throws UserError if the file is a part of a model. */
function checkWhole(metadata: GgufHeader["metadata"], where: string): void {
  const parts = metadata.get("split.count");
  if (parts !== undefined && parts !== 0 && parts !== 1)
    throw new UserError("a GGUF is one of several parts of a model, which are not read: join them with llama-gguf-split --merge", {
      file: where,
      parts: String(parts),
    });
}

function readTensor(cursor: GgufCursor, index: number): GgufTensor {
  const name = cursor.text(`the name of tensor ${index}`, LIMITS.nameBytes);
  const dimensions = cursor.uint32(`the dimensions of ${name}`);
  if (dimensions < 1 || dimensions > LIMITS.dimensions)
    throw cursor.damage("a GGUF's tensor has an impossible number of dimensions", {
      tensor: name,
      expected: `1 to ${LIMITS.dimensions}`,
      got: dimensions,
    });
  const sizes = Array.from({ length: dimensions }, () => cursor.uint64(`the sizes of ${name}`, Number.MAX_SAFE_INTEGER));
  const typeName = ggmlName(cursor.uint32(`the type of ${name}`));
  const offset = cursor.uint64(`the offset of ${name}`, Number.MAX_SAFE_INTEGER);
  const elements = sizes.reduce((product, size) => product * size, 1);
  if (elements < 1 || elements > Number.MAX_SAFE_INTEGER)
    throw cursor.damage("a GGUF's tensor has an impossible size", { tensor: name, sizes: sizes.join() });
  if (!isGgufType(typeName)) throw unread(cursor, name, typeName);
  const { block, bytes } = GGUF_TYPES[typeName];
  if (sizes[0]! % block !== 0)
    throw cursor.damage("a GGUF's tensor has rows that are not whole blocks of its type", { tensor: name, type: typeName, row: sizes[0]! });
  return { name, type: typeName, shape: sizes.toReversed(), offset, bytes: (elements / block) * bytes };
}

function unread(cursor: GgufCursor, tensor: string, type: string): UserError {
  const { message } = cursor.damage("a GGUF's tensor has a type that is not read: get the model in one that is, such as Q8_0 or F16", {
    tensor,
    expected: Object.keys(GGUF_TYPES).join(", "),
    got: type,
  });
  return new UserError(message);
}

function alignmentOf(metadata: GgufHeader["metadata"], where: string): number {
  const alignment = metadata.get("general.alignment") ?? ALIGNMENT;
  const isPower = typeof alignment === "number" && alignment >= 8 && alignment <= LIMITS.alignment && Math.log2(alignment) % 1 === 0;
  if (isPower) return alignment;
  throw new CorruptError("a GGUF's general.alignment is not a power of two", {
    file: where,
    expected: `8 to ${LIMITS.alignment}`,
    got: String(alignment),
  });
}

function checkPlaces(tensors: readonly GgufTensor[], fileBytes: number, where: string): void {
  let end = 0;
  let before = "";
  for (const { name, offset, bytes } of tensors.toSorted((a, b) => a.offset - b.offset)) {
    if (offset < end)
      throw new CorruptError("two tensors of a GGUF overlap", { file: where, tensor: name, before, expected: end, got: offset });
    [end, before] = [offset + bytes, name];
    if (end > fileBytes)
      throw new CorruptError("a tensor of a GGUF lies beyond the end of its file: the file is cut", {
        file: where,
        tensor: name,
        expected: end,
        got: fileBytes,
      });
  }
}
