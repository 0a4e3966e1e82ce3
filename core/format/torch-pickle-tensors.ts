import { CorruptError, UserError } from "../errors.js";
import { DTYPE_BYTES, type DType } from "./safetensors.js";
import { unpickle } from "./torch-pickle.js";

/** A tensor as a torch file describes it: a view of a storage, which other tensors may share. */
export interface TorchTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** elements of the storage from one entry of each axis to the next */
  readonly stride: readonly number[];
  /** the storage's key */
  readonly storage: string;
  /** elements of the storage before the tensor's first one */
  readonly first: number;
}

class Storage {
  readonly key: string;
  readonly dtype: DType;
  readonly elements: number;
  constructor(key: string, dtype: DType, elements: number) {
    this.key = key;
    this.dtype = dtype;
    this.elements = elements;
  }
}

class StorageType {
  readonly dtype: DType;
  constructor(dtype: DType) {
    this.dtype = dtype;
  }
}

class Tensor implements TorchTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  readonly storage: string;
  readonly first: number;
  constructor({ dtype, key, elements }: Storage, first: number, shape: readonly number[], stride: readonly number[]) {
    const last = shape.reduce((sum, size, axis) => sum + (size - 1) * stride[axis]!, first);
    const empty = shape.includes(0);
    if (
      shape.length !== stride.length ||
      (empty ? first > elements : !(last < elements)) ||
      !Number.isSafeInteger(shape.reduce((a, b) => a * b, 1))
    )
      throw new RangeError(
        `shape [${shape.join()}], stride [${stride.join()}] from ${first} on do not fit a storage of ${elements} elements`,
      );
    this.dtype = dtype;
    this.storage = key;
    this.first = first;
    this.shape = shape;
    this.stride = stride;
  }
}

const STORAGES: Readonly<Record<string, DType>> = {
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  DoubleStorage: "F64",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
};

/** Every global that a pickle may name. Hooks, and whether a tensor requires gradients, are ignored. */
const GLOBALS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["collections OrderedDict", dictionary],
  ["torch._utils _rebuild_tensor", tensor],
  ["torch._utils _rebuild_tensor_v2", tensor],
  ["torch._utils _rebuild_parameter", (value: unknown) => value],
  ...Object.entries(STORAGES).map(([name, dtype]): [string, StorageType] => [`torch ${name}`, new StorageType(dtype)]),
]);

/**
 * The tensors of a torch file's data.pkl by name. `storages`: bytes of each storage's entry, by key. Throws UserError if the
 * pickle asks for anything but a dictionary of tensors, CorruptError if a tensor or storage is out of bounds.
 */
export function parseTorchPickle(bytes: Uint8Array, storages: ReadonlyMap<string, number>, where: string): Map<string, TorchTensor> {
  const global = (module: string, name: string): unknown => {
    const found = GLOBALS.get(`${module} ${name}`);
    if (found !== undefined) return found;
    throw new UserError(
      "a torch file asks for Python code besides tensors, so it is not read: name a model with safetensors, or save its weights alone",
      {
        file: where,
        global: `${module}.${name}`,
      },
    );
  };
  const persistent = (id: unknown): Storage => {
    const [kind, type, key, , count] = Array.isArray(id) ? (id as unknown[]) : [];
    if (kind !== "storage" || !(type instanceof StorageType) || typeof key !== "string" || !isCount(count))
      throw new CorruptError("a torch file describes a storage in an unknown way", { file: where });
    const expected = count * DTYPE_BYTES[type.dtype];
    const got = storages.get(key);
    if (got !== expected)
      throw new CorruptError("a storage has another size than the torch file's index says", {
        file: where,
        storage: key,
        expected,
        got: got ?? "nothing",
      });
    return new Storage(key, type.dtype, count);
  };
  let value: unknown;
  try {
    value = unpickle(bytes, { global, persistent }, where);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CorruptError("a torch file describes an impossible tensor", { file: where }, { cause: error });
  }
  if (!(value instanceof Map)) throw new UserError("a torch file does not hold a dictionary of tensors", { file: where });
  const tensors = new Map<string, TorchTensor>();
  for (const [name, item] of value as Map<string, unknown>) {
    if (!(item instanceof Tensor)) throw new UserError("a torch file holds something other than tensors", { file: where, name });
    tensors.set(name, item);
  }
  return tensors;
}

function dictionary(...items: readonly unknown[]): Map<string, unknown> {
  if (items.length > 0) throw new RangeError("a dictionary is described in an unknown way");
  return new Map();
}

/** Stands for both of torch's rebuild functions. Their arguments after the strides do not affect the values. */
function tensor(storage: unknown, first: unknown, shape: unknown, stride: unknown): Tensor {
  if (!(storage instanceof Storage) || !isCount(first) || !isCounts(shape) || !isCounts(stride))
    throw new RangeError("a tensor is described in an unknown way");
  return new Tensor(storage, first, shape, stride);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCounts(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(isCount);
}
