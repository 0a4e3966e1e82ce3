import { isUtf8 } from "node:buffer";
import { Type, Vector, type Data, type DataType } from "apache-arrow";
import { plainValue } from "./plain-value.js";

/** The value of a column in a row of its record batch. */
export type ArrowGetter = (row: number) => unknown;

type Bytes = Uint8Array;
type Offsets = Int32Array | BigInt64Array;

/** Reads a column's values as JSON would have them; text that is not UTF-8 stays bytes, and a place outside of the column throws. The library's own text loses a leading U+FEFF, and takes any bytes for text. */
export function arrowGetter(data: Data): ArrowGetter {
  checkRoom(data);
  const get = valueGetter(data);
  const { nullBitmap, length, offset } = data as Data & { readonly nullBitmap: Bytes };
  const hasNulls = nullBitmap !== undefined && nullBitmap !== null && nullBitmap.length > 0;
  return (row) => {
    if (!(row >= 0 && row < length)) throw new Error(`row ${row} is outside of a column of ${length}`);
    if (hasNulls && ((nullBitmap[(offset + row) >> 3]! >> ((offset + row) & 7)) & 1) === 0) return null;
    return get(row);
  };
}

/** Throws if a column claims more values than its bytes hold: a damaged file may claim any number. */
function checkRoom(data: Data): void {
  const { length, children, offset } = data;
  const bytes = (data.values as ArrayLike<number> | undefined)?.length ?? 0;
  const bits = (data.nullBitmap as ArrayLike<number> | undefined)?.length ?? 0;
  const room = ((): number => {
    switch (data.typeId) {
      case Type.Utf8:
      case Type.LargeUtf8:
      case Type.Binary:
      case Type.LargeBinary:
      case Type.List:
      case Type.LargeList:
      case Type.Map:
        return data.valueOffsets.length - 1;
      case Type.Utf8View:
      case Type.BinaryView:
        return bytes / 16;
      case Type.Bool:
        return bytes * 8;
      case Type.FixedSizeList:
        return children[0]!.length / (data.type as DataType & { readonly listSize: number }).listSize;
      case Type.Struct:
        return Math.min(...children.map((child) => child.length));
      case Type.Null:
      case Type.Union:
        return Infinity;
      default:
        return bytes / data.stride;
    }
  })();
  if (length > 0 && (room < length || offset !== 0 || (bits > 0 && bits * 8 < length)))
    throw new Error(`a column claims ${length} values and has room for ${Math.floor(room)}`);
}

function valueGetter(data: Data): ArrowGetter {
  switch (data.typeId) {
    case Type.Null:
      return () => null;
    case Type.Utf8:
    case Type.LargeUtf8: {
      const bytes = bytesGetter(data);
      return (row) => textOf(bytes(row));
    }
    case Type.Binary:
    case Type.LargeBinary: {
      const bytes = bytesGetter(data);
      return (row) => Uint8Array.from(bytes(row));
    }
    case Type.Utf8View: {
      const bytes = viewGetter(data);
      return (row) => textOf(bytes(row));
    }
    case Type.BinaryView: {
      const bytes = viewGetter(data);
      return (row) => Uint8Array.from(bytes(row));
    }
    case Type.List:
    case Type.LargeList: {
      const range = rangeGetter(data, data.children[0]!.length);
      const item = arrowGetter(data.children[0]!);
      return (row) => listOf(item, range(row));
    }
    case Type.FixedSizeList: {
      const size = (data.type as DataType & { readonly listSize: number }).listSize;
      const item = arrowGetter(data.children[0]!);
      return (row) => listOf(item, [row * size, (row + 1) * size]);
    }
    case Type.Struct:
      return structGetter(data);
    case Type.Map: {
      const range = rangeGetter(data, data.children[0]!.length);
      const [key, value] = data.children[0]!.children.map(arrowGetter) as [ArrowGetter, ArrowGetter];
      return (row) => {
        const [start, end] = range(row);
        return Object.fromEntries(Array.from({ length: end - start }, (_, at) => [String(key(start + at)), value(start + at)]));
      };
    }
    case Type.Dictionary: {
      const indices = data.values as ArrayLike<number | bigint>;
      const word = wordGetter(data.dictionary!);
      return (row) => word(Number(indices[row]));
    }
    case Type.Bool: {
      const bits = data.values as Bytes;
      return (row) => ((bits[row >> 3]! >> (row & 7)) & 1) === 1;
    }
    default: {
      const vector = new Vector([data]);
      return (row) => plainValue(vector.get(row));
    }
  }
}

function textOf(bytes: Bytes): string | Bytes {
  if (!isUtf8(bytes)) return Uint8Array.from(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

function listOf(item: ArrowGetter, [start, end]: readonly [number, number]): unknown[] {
  return Array.from({ length: end - start }, (_, at) => item(start + at));
}

function structGetter(data: Data): ArrowGetter {
  const fields = (data.type as DataType & { readonly children: readonly { readonly name: string }[] }).children;
  const getters = data.children.map(arrowGetter);
  return (row) => Object.fromEntries(getters.map((get, at) => [fields[at]!.name, get(row)]));
}

/** Where a row's part of a column's items lies; its end is at most `limit`. */
function rangeGetter(data: Data, limit: number): (row: number) => readonly [number, number] {
  const offsets = data.valueOffsets as Offsets;
  return (row) => {
    const [start, end] = [Number(offsets[row]), Number(offsets[row + 1])];
    if (!(start >= 0 && start <= end && end <= limit)) throw new Error(`a value at ${start} to ${end} is outside of ${limit}`);
    return [start, end];
  };
}

function bytesGetter(data: Data): (row: number) => Bytes {
  const bytes = data.values as Bytes;
  const range = rangeGetter(data, bytes.length);
  return (row) => bytes.subarray(...range(row));
}

/** Views of 16 bytes: the length, and then up to 12 bytes, or 4 bytes, the number of a buffer and the place in it. */
function viewGetter(data: Data): (row: number) => Bytes {
  const views = data.values as Bytes;
  const view = new DataView(views.buffer, views.byteOffset, views.byteLength);
  return (row) => {
    const at = row * 16;
    const length = view.getInt32(at, true);
    if (length >= 0 && length <= 12) return views.subarray(at + 4, at + 4 + length);
    const start = view.getInt32(at + 12, true);
    const buffer = data.variadicBuffers[view.getInt32(at + 8, true)];
    if (buffer === undefined || length < 0 || start < 0 || start + length > buffer.length)
      throw new Error(`a value at ${start} of ${length} bytes is outside of its buffer`);
    return buffer.subarray(start, start + length);
  };
}

const words = new WeakMap<Vector, (index: number) => unknown>();

/** A dictionary's words, which rows of many batches share. */
function wordGetter(dictionary: Vector): (index: number) => unknown {
  const known = words.get(dictionary);
  if (known !== undefined) return known;
  const parts = dictionary.data.map((data) => ({ get: arrowGetter(data), length: data.length }));
  const kept = new Map<number, unknown>();
  const get = (index: number): unknown => {
    if (kept.has(index)) return kept.get(index);
    let at = index;
    for (const part of parts) {
      if (at < part.length) {
        const word = part.get(at);
        kept.set(index, word);
        return word;
      }
      at -= part.length;
    }
    throw new Error(`a dictionary has no word ${index}`);
  };
  words.set(dictionary, get);
  return get;
}
