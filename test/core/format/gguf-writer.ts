/** A writer of small GGUF files for tests; it writes whatever it is told. */

/** A value with its type: GGUF's number and its bytes. */
export interface Value {
  readonly type: number;
  readonly bytes: Buffer;
}

const number = (bytes: number, write: (buffer: Buffer) => void): Buffer => {
  const buffer = Buffer.alloc(bytes);
  write(buffer);
  return buffer;
};
/** Whole numbers of 4 and 8 bytes. */
export const u32 = (value: number): Buffer => number(4, (buffer) => buffer.writeUInt32LE(value));
export const u64 = (value: number | bigint): Buffer => number(8, (buffer) => buffer.writeBigUInt64LE(BigInt(value)));
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const list = (type: number, length: number | bigint, bytes: readonly Buffer[]): Value => ({
  type: 9,
  bytes: Buffer.concat([u32(type), u64(length), ...bytes]),
});

/** Makers of values. */
export const value = {
  u32: (of: number): Value => ({ type: 4, bytes: u32(of) }),
  f32: (of: number): Value => ({ type: 6, bytes: number(4, (buffer) => buffer.writeFloatLE(of)) }),
  flag: (of: boolean | number): Value => ({ type: 7, bytes: Buffer.from([Number(of)]) }),
  text: (of: string): Value => ({ type: 8, bytes: text(of) }),
  raw: (type: number, bytes: Buffer): Value => ({ type, bytes }),
  list,
  texts: (of: readonly string[]): Value => list(8, of.length, of.map(text)),
  u32s: (of: readonly number[]): Value => list(4, of.length, of.map(u32)),
  f32s: (of: readonly number[]): Value => list(6, of.length, [Buffer.from(Float32Array.from(of).buffer)]),
};

/** A tensor; sizes as torch has them. Without an offset it follows the one before. */
export interface TensorPart {
  readonly name: string;
  readonly shape: readonly (number | bigint)[];
  /** GGML's number; absent: F32 */
  readonly type?: number;
  readonly data: Uint8Array;
  readonly offset?: number;
}

/** What is written otherwise than a sound file has it. */
export interface Oddities {
  readonly magic?: string;
  readonly version?: number;
  readonly tensorCount?: number | bigint;
  readonly valueCount?: number | bigint;
  readonly alignment?: number;
}

/** The bytes of a GGUF. Names may come twice. */
export function gguf(values: readonly (readonly [string, Value])[], tensors: readonly TensorPart[] = [], odd: Oddities = {}): Buffer {
  const { magic = "GGUF", version = 3, alignment = 32 } = odd;
  let end = 0;
  const placed = tensors.map((tensor) => {
    const offset = tensor.offset ?? end;
    end = Math.ceil((offset + tensor.data.length) / alignment) * alignment;
    return { ...tensor, offset };
  });
  const header = Buffer.concat([
    Buffer.from(magic),
    u32(version),
    u64(odd.tensorCount ?? tensors.length),
    u64(odd.valueCount ?? values.length),
    ...values.flatMap(([key, { type, bytes }]) => [text(key), u32(type), bytes]),
    ...placed.flatMap(({ name, shape, type = 0, offset }) => [
      text(name),
      u32(shape.length),
      ...shape.toReversed().map(u64),
      u32(type),
      u64(offset),
    ]),
  ]);
  const start = Math.ceil(header.length / alignment) * alignment;
  const size = placed.reduce((most, { offset, data }) => Math.max(most, offset + data.length), 0);
  const file = Buffer.alloc(tensors.length === 0 ? header.length : start + size);
  header.copy(file);
  for (const { offset, data } of placed) file.set(data, start + offset);
  return file;
}

/** A tensor of fp32. */
export function floats(name: string, shape: readonly number[], fill: (index: number) => number = () => 0): TensorPart {
  const values = Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, (_, index) => fill(index));
  return { name, shape, data: new Uint8Array(values.buffer) };
}
