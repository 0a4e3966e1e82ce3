import { closeSync, existsSync, fstatSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CorruptError, UserError } from "../../core/errors.js";
import { DTYPE_BYTES, headerLength, parseHeader, type DType, type TensorEntry } from "../../core/format/safetensors.js";
import { indexedFiles } from "../../core/format/weight-index.js";
import { elements, type FloatType } from "../../core/graph/tensor.js";
import { FAMILIES } from "../../core/model/families.js";
import { allParameters, isTied, type Model, type ModelFamily, type TensorSource } from "../../core/model/family.js";
import { refuseLfsPointer } from "../disk/lfs-pointer.js";
import { readModelConfig } from "./read-model-config.js";
import { readParameter } from "./read-parameter.js";
import { TorchFile } from "./torch-file.js";
import { floatBytes, readFloatsAt, readInto, type WeightFile } from "./weight-file.js";

/** A safetensors file open for reading, its header checked against its size. */
export class SafetensorsFile implements WeightFile {
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly path: string;
  private readonly descriptor: number;

  constructor(path: string) {
    this.path = path;
    this.descriptor = openSync(path, "r");
    try {
      const bytes = fstatSync(this.descriptor).size;
      const length = headerLength(this.bytesAt(0, Math.min(8, bytes)), path);
      if (length + 8 > bytes)
        throw new CorruptError("a safetensors file ends inside its header", { file: path, expected: length + 8, got: bytes });
      this.entries = new Map(parseHeader(this.bytesAt(8, length), bytes, path).map((entry) => [entry.name, entry]));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  entry(name: string): TensorEntry {
    const found = this.entries.get(name);
    if (found === undefined) throw new CorruptError("a tensor is missing", { file: this.path, tensor: name });
    return found;
  }

  /** Raw bytes of the file. */
  bytesAt(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    readInto(this.descriptor, this.path, offset, bytes);
    return bytes;
  }

  /** Elements [first, first + out.length) of a tensor as fp32, from F32, F16 or BF16. */
  readFloats(name: string, first: number, out: Float32Array): void {
    const { dtype, offset, bytes } = this.entry(name);
    const size = floatBytes(dtype, name, this.path);
    if ((first + out.length) * size > bytes) throw new RangeError(`${name}: elements ${first}+${out.length} of ${bytes / size}`);
    readFloatsAt(this.descriptor, this.path, offset + first * size, dtype, out);
  }

  offsetOf(name: string): number {
    return this.entry(name).offset;
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

/** Elements of a type in row-major order from a file's byte `offset` on. */
export interface WeightPlace {
  readonly path: string;
  readonly offset: number;
  readonly type: FloatType;
  readonly elements: number;
}

const FLOAT_TYPES: { readonly [D in DType]?: FloatType } = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** Longer views of mapped memory are refused by the bridge to native code. */
const MAX_MAPPED_BYTES = 2 ** 32 - 2 ** 20;

/** A model directory (config.json and safetensors or torch files, single or sharded with an index), every parameter found and of the config's shape. */
export class ModelFiles {
  readonly model: Model;
  /** dtype of the weights in the files; that of the first where they differ */
  readonly dtype: DType;
  readonly directory: string;
  private readonly files: WeightFile[] = [];
  /** the file of each tensor */
  private readonly home = new Map<string, WeightFile>();
  /** by the parameters' names */
  private readonly sources: ReadonlyMap<string, TensorSource>;

  constructor(directory: string, families: readonly ModelFamily[] = FAMILIES) {
    this.directory = directory;
    this.model = readModelConfig(directory, families);
    const { family, shape, parameters } = this.model;
    this.sources = new Map(allParameters(parameters).map((spec) => [spec.name, family.source(shape, spec)]));
    try {
      const names = weightFiles(directory);
      for (const name of names) refuseLfsPointer(join(directory, name));
      for (const name of names) this.files.push(new (name.endsWith(".bin") ? TorchFile : SafetensorsFile)(join(directory, name)));
      this.dtype = this.check();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Finds the tensor of every parameter, of the config's shape; returns the first one's dtype. */
  private check(): DType {
    const { directory } = this;
    const { family } = this.model;
    for (const file of this.files) for (const name of file.entries.keys()) if (!family.isBuffer(name)) this.home.set(name, file);
    this.forgetTiedHead();
    const sources = [...this.sources.values()];
    for (const { tensor, shape } of sources) {
      const entry = this.home.get(tensor)?.entries.get(tensor);
      if (entry === undefined)
        throw new UserError("a weight is missing from the model's files", { directory, tensor, expected: `[${shape.join(",")}]` });
      if (entry.shape.join() !== shape.join())
        throw new UserError("a weight has another shape than config.json says", {
          directory,
          tensor,
          expected: `[${shape.join(",")}]`,
          got: `[${entry.shape.join(",")}]`,
        });
      floatBytes(entry.dtype, tensor, directory);
    }
    const known = new Set(sources.map(({ tensor }) => tensor));
    const extra = [...this.home.keys()].filter((name) => !known.has(name));
    if (extra.length > 0)
      throw new UserError("the model's files hold a tensor that its config doesn't know", {
        directory,
        tensor: extra[0],
        extra: extra.length,
      });
    return this.home.get(sources[0]!.tensor)!.entries.get(sources[0]!.tensor)!.dtype;
  }

  /** A tied head that the files hold as well, as torch's files do, must be the embedding once more: transformers does not tie two that differ. */
  private forgetTiedHead(): void {
    const { parameters } = this.model;
    const { embedding, head } = parameters;
    if (!isTied(parameters)) return;
    const { tensor: table } = this.sources.get(embedding.name)!;
    const file = this.home.get(table);
    for (const tensor of (head[0]!.layerNames ?? []).map((layer) => `${layer}.weight`)) {
      const other = this.home.get(tensor);
      if (file === undefined || other === undefined) continue;
      if (!isSame([file, table], [other, tensor]))
        throw new UserError("config.json ties the head to the embedding, but the model's files hold two that differ: tie_word_embeddings", {
          directory: this.directory,
          tensor,
          expected: `false, or what ${table} has`,
        });
      this.home.delete(tensor);
    }
  }

  /** Elements [first, first + out.length) of a parameter, in row-major order, as fp32. */
  readFloats(name: string, first: number, out: Float32Array): void {
    const source = this.sources.get(name);
    if (source === undefined) throw new Error(`a model has no such parameter [directory=${this.directory}, parameter=${name}]`);
    readParameter(this.home.get(source.tensor)!, source, first, out);
  }

  /** The dtype of a parameter in its file. */
  dtypeOf(name: string): DType {
    const { tensor } = this.sources.get(name)!;
    return this.home.get(tensor)!.entries.get(tensor)!.dtype;
  }

  /** Where a parameter lies in a file just as it is in memory, so that the file can be mapped; null: it has to be read. */
  placeOf(name: string): WeightPlace | null {
    const { tensor, row, transposed } = this.sources.get(name)!;
    if (row !== undefined || transposed === true) return null;
    const file = this.home.get(tensor)!;
    const { dtype, shape } = file.entries.get(tensor)!;
    const type = FLOAT_TYPES[dtype]!;
    const offset = file.offsetOf(tensor);
    const count = elements(shape);
    const bytes = count * DTYPE_BYTES[dtype];
    if (offset === null || offset % DTYPE_BYTES[dtype] !== 0 || bytes > MAX_MAPPED_BYTES) return null;
    return { path: file.path, offset, type, elements: count };
  }

  close(): void {
    for (const file of this.files) file.close();
  }
}

/** Elements compared at a time. */
const COMPARED = 1 << 20;

/** Whether two tensors of files have the same shape and elements. */
function isSame([file, name]: readonly [WeightFile, string], [other, otherName]: readonly [WeightFile, string]): boolean {
  const { shape } = file.entries.get(name)!;
  if (shape.join() !== other.entries.get(otherName)!.shape.join()) return false;
  const offset = file.offsetOf(name);
  // a torch file has one storage for both
  if (file === other && offset !== null && offset === other.offsetOf(otherName)) return true;
  const count = elements(shape);
  for (let first = 0; first < count; first += COMPARED) {
    const [a, b] = [new Float32Array(Math.min(COMPARED, count - first)), new Float32Array(Math.min(COMPARED, count - first))];
    file.readFloats(name, first, a);
    other.readFloats(otherName, first, b);
    if (Buffer.compare(new Uint8Array(a.buffer), new Uint8Array(b.buffer)) !== 0) return false;
  }
  return true;
}

/** What weights are called, the single file and the index of several; the first that is there wins. */
const WEIGHTS = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/** Names of the weight files in a model directory. Throws UserError where one is missing. */
export function weightFiles(directory: string): string[] {
  const found = WEIGHTS.find((name) => existsSync(join(directory, name)));
  if (found === undefined) throw new UserError("a model directory needs weights", { directory, expected: WEIGHTS.join(" or ") });
  if (!found.endsWith(".json")) return [found];
  const index = join(directory, found);
  refuseLfsPointer(index);
  const names = indexedFiles(readFileSync(index, "utf8"), index);
  for (const name of names)
    if (!existsSync(join(directory, name)))
      throw new UserError("a file that the model's index names is missing", { file: index, missing: name });
  return names;
}
