/** The types of frozen weights: as they lie in a file, and so in memory and in a graph, which casts the half ones to float32. */
export type FloatType = "float32" | "float16" | "bfloat16";
/** Element types that our graphs use; a bool is one byte, and halves are given by their bits. */
export type ElementType = FloatType | "int64" | "int32" | "bool";

/** A size, or the name of one that is known only when a graph runs. */
export type Dimension = number | string;
/** The sizes of all axes. */
export type Shape = readonly Dimension[];

interface DataTypes {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  bool: Uint8Array;
}

/** A dense row-major tensor; `data` may be a view of memory that others map as well. */
export type Tensor = {
  [Type in ElementType]: { readonly type: Type; readonly shape: readonly number[]; readonly data: DataTypes[Type] };
}[ElementType];

/** What a graph says of one of its inputs or outputs. */
export interface TensorInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: Shape;
}

/** An ONNX model as bytes, with its inputs and outputs in order. */
export interface Graph {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Where element `flat` of a row-major tensor lies, as people write it: "[3,17]". */
export function indexIn(shape: readonly number[], flat: number): string {
  let rest = flat;
  const index = shape.toReversed().map((size) => {
    const at = rest % size;
    rest = (rest - at) / size;
    return at;
  });
  return `[${index.toReversed().join(",")}]`;
}

/** A float32 tensor over `data`; no copy. */
export function floats(data: Float32Array, ...shape: number[]): Tensor {
  return { type: "float32", shape, data };
}

/** An int32 tensor over `data`; no copy. */
export function int32s(data: Int32Array, ...shape: number[]): Tensor {
  return { type: "int32", shape, data };
}

/** An int64 tensor of whole numbers, copied. */
export function int64s(values: ArrayLike<number>, ...shape: number[]): Tensor {
  return { type: "int64", shape, data: BigInt64Array.from({ length: values.length }, (_, index) => BigInt(values[index]!)) };
}
