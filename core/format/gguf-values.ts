import type { GgufCursor } from "./gguf-cursor.js";

/** The named values of a GGUF's header. */

/** A list of numbers in the type that the file has; truths are bytes, 0 or 1. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** A value: a number, whole and above 2^53 as a bigint; a list of lists is not kept, and is null. */
export type GgufValue = number | bigint | boolean | string | GgufNumbers | readonly string[] | null;

/** More elements than any vocabulary or list of merges has. */
const MAX_ELEMENTS = 1 << 22;
const MAX_DEPTH = 4;
const STRING = 8;
const ARRAY = 9;

interface Scalar {
  readonly bytes: number;
  read(this: void, view: DataView, at: number): number | bigint | boolean | null;
  /** a list of them, from bytes that nobody else has */
  list(this: void, bytes: Uint8Array<ArrayBuffer>): GgufNumbers | null;
}

const whole = (value: bigint): number | bigint => (BigInt.asIntN(54, value) === value ? Number(value) : value);
const isTruth = (byte: number): boolean => byte <= 1;

/** Values of one size by the number of their type. */
const SCALARS: Readonly<Record<number, Scalar>> = {
  0: { bytes: 1, read: (view, at) => view.getUint8(at), list: (bytes) => bytes },
  1: { bytes: 1, read: (view, at) => view.getInt8(at), list: ({ buffer }) => new Int8Array(buffer) },
  2: { bytes: 2, read: (view, at) => view.getUint16(at, true), list: ({ buffer }) => new Uint16Array(buffer) },
  3: { bytes: 2, read: (view, at) => view.getInt16(at, true), list: ({ buffer }) => new Int16Array(buffer) },
  4: { bytes: 4, read: (view, at) => view.getUint32(at, true), list: ({ buffer }) => new Uint32Array(buffer) },
  5: { bytes: 4, read: (view, at) => view.getInt32(at, true), list: ({ buffer }) => new Int32Array(buffer) },
  6: { bytes: 4, read: (view, at) => view.getFloat32(at, true), list: ({ buffer }) => new Float32Array(buffer) },
  7: {
    bytes: 1,
    read: (view, at) => (isTruth(view.getUint8(at)) ? view.getUint8(at) === 1 : null),
    list: (bytes) => (bytes.every(isTruth) ? bytes : null),
  },
  10: { bytes: 8, read: (view, at) => whole(view.getBigUint64(at, true)), list: ({ buffer }) => new BigUint64Array(buffer) },
  11: { bytes: 8, read: (view, at) => whole(view.getBigInt64(at, true)), list: ({ buffer }) => new BigInt64Array(buffer) },
  12: { bytes: 8, read: (view, at) => view.getFloat64(at, true), list: ({ buffer }) => new Float64Array(buffer) },
};

/** Reads the type and the value of a key. Throws CorruptError. */
export function readGgufValue(cursor: GgufCursor, key: string): GgufValue {
  return readTyped(cursor, key, cursor.uint32(`the type of ${key}`));
}

function readTyped(cursor: GgufCursor, key: string, type: number): GgufValue {
  if (type === STRING) return cursor.text(key);
  if (type === ARRAY) return readList(cursor, key, 1);
  const scalar = scalarOf(cursor, key, type);
  return sound(cursor, key, cursor.scalar(scalar.bytes, key, scalar.read));
}

function readList(cursor: GgufCursor, key: string, depth: number): Exclude<GgufValue, string> {
  const type = cursor.uint32(`the type of ${key}`);
  const length = cursor.uint64(`the length of ${key}`, MAX_ELEMENTS);
  if (type === STRING) {
    // none is reserved for what the file only claims to have
    const texts: string[] = [];
    for (let index = 0; index < length; index++) texts.push(cursor.text(key));
    return texts;
  }
  if (type === ARRAY) {
    if (depth === MAX_DEPTH) throw cursor.damage("a GGUF has lists within lists that are too deep", { key, limit: MAX_DEPTH });
    for (let index = 0; index < length; index++) readList(cursor, key, depth + 1);
    return null;
  }
  const scalar = scalarOf(cursor, key, type);
  return sound(cursor, key, scalar.list(cursor.copy(length * scalar.bytes, key)));
}

function scalarOf(cursor: GgufCursor, key: string, type: number): Scalar {
  const scalar = SCALARS[type];
  if (scalar === undefined) throw cursor.damage("a GGUF has a value of a type that GGUF does not have", { key, got: type });
  return scalar;
}

function sound<T>(cursor: GgufCursor, key: string, value: T | null): T {
  if (value === null) throw cursor.damage("a GGUF has a value that is neither true nor false", { key });
  return value;
}
