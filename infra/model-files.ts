import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { CorruptError, UserError } from "../core/errors.js";
import { bfloatToFloat, halfToFloat } from "../core/format/floats.js";
import { headerLength, parseHeader, type DType, type TensorEntry } from "../core/format/safetensors.js";
import { parseGptjConfig, type GptjConfig } from "../core/model/config.js";
import { modelWeights } from "../core/model/names.js";

/** Bytes read and converted at a time. */
const SLICE_BYTES = 8 << 20;

/** A safetensors file open for reading, its header checked against its size. */
export class SafetensorsFile {
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly path: string;
  private readonly descriptor: number;

  constructor(path: string) {
    this.path = path;
    this.descriptor = openSync(path, "r");
    try {
      const bytes = fstatSync(this.descriptor).size;
      const length = headerLength(this.bytesAt(0, Math.min(8, bytes)), path);
      if (length + 8 > bytes) throw new CorruptError("a safetensors file ends inside its header", { file: path, expected: length + 8, got: bytes });
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
    const bytes = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const read = readSync(this.descriptor, bytes, done, length - done, offset + done);
      if (read === 0) throw new CorruptError("a file ended early", { file: this.path, expected: offset + length, got: offset + done });
      done += read;
    }
    return bytes;
  }

  /** Elements [first, first + out.length) of a tensor as fp32, from F32, F16 or BF16. */
  readFloats(name: string, first: number, out: Float32Array): void {
    const { dtype, offset, bytes } = this.entry(name);
    const size = floatBytes(dtype, name, this.path);
    if ((first + out.length) * size > bytes) throw new RangeError(`${name}: elements ${first}+${out.length} of ${bytes / size}`);
    const step = SLICE_BYTES / size;
    for (let at = 0; at < out.length; at += step) {
      const target = out.subarray(at, Math.min(at + step, out.length));
      const raw = this.bytesAt(offset + (first + at) * size, target.length * size);
      if (dtype === "F32") target.set(new Float32Array(raw.buffer, raw.byteOffset, target.length));
      else (dtype === "F16" ? halfToFloat : bfloatToFloat)(new Uint16Array(raw.buffer, raw.byteOffset, target.length), target);
    }
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

function floatBytes(dtype: DType, tensor: string, file: string): number {
  if (dtype === "F32") return 4;
  if (dtype === "F16" || dtype === "BF16") return 2;
  throw new UserError("a weight has a dtype that is not trained", { file, tensor, expected: "F32, F16 or BF16", got: dtype });
}

/** A model directory (config.json and safetensors, single or sharded with an index), every weight found and of the config's shape. */
export class ModelFiles {
  readonly config: GptjConfig;
  readonly configJson: Readonly<Record<string, unknown>>;
  /** dtype of the weights in the files; that of the first where they differ */
  readonly dtype: DType;
  readonly directory: string;
  private readonly files: readonly SafetensorsFile[];
  private readonly home = new Map<string, SafetensorsFile>();

  constructor(directory: string) {
    this.directory = directory;
    const where = join(directory, "config.json");
    if (!existsSync(where)) throw new UserError("a model directory needs config.json", { directory });
    try {
      this.configJson = JSON.parse(readFileSync(where, "utf8")) as Record<string, unknown>;
    } catch (error) {
      throw new UserError("a model's config.json is not JSON", { file: where }, { cause: error });
    }
    this.config = parseGptjConfig(this.configJson, where);
    this.files = weightFiles(directory).map((name) => new SafetensorsFile(join(directory, name)));
    for (const file of this.files) for (const name of file.entries.keys()) if (!isBuffer(name)) this.home.set(name, file);
    const expected = modelWeights(this.config);
    for (const { name, shape } of expected) {
      const entry = this.home.get(name)?.entry(name);
      if (entry === undefined) throw new UserError("a weight is missing from the model's files", { directory, tensor: name, expected: `[${shape.join(",")}]` });
      if (entry.shape.join() !== shape.join())
        throw new UserError("a weight has another shape than config.json says", { directory, tensor: name, expected: `[${shape.join(",")}]`, got: `[${entry.shape.join(",")}]` });
      floatBytes(entry.dtype, name, directory);
    }
    const known = new Set(expected.map((spec) => spec.name));
    const extra = [...this.home.keys()].filter((name) => !known.has(name));
    if (extra.length > 0) throw new UserError("the model's files hold a tensor that its config doesn't know", { directory, tensor: extra[0], extra: extra.length });
    this.dtype = this.home.get(expected[0]!.name)!.entry(expected[0]!.name).dtype;
  }

  /** Elements [first, first + out.length) of a weight, in row-major order, as fp32. */
  readFloats(name: string, first: number, out: Float32Array): void {
    const file = this.home.get(name);
    if (file === undefined) throw new UserError("a weight is missing from the model's files", { directory: this.directory, tensor: name });
    file.readFloats(name, first, out);
  }

  close(): void {
    for (const file of this.files) file.close();
  }
}

/** Buffers that old checkpoints carry beside the weights. */
function isBuffer(name: string): boolean {
  return /^transformer\.h\.\d+\.attn\.(bias|masked_bias)$/.test(name);
}

/** Names of the weight files in a model directory. */
export function weightFiles(directory: string): string[] {
  if (existsSync(join(directory, "model.safetensors"))) return ["model.safetensors"];
  const index = join(directory, "model.safetensors.index.json");
  if (!existsSync(index)) throw new UserError("a model directory needs model.safetensors, or model.safetensors.index.json and its files", { directory });
  const map = (JSON.parse(readFileSync(index, "utf8")) as { weight_map?: Record<string, string> }).weight_map ?? {};
  const names = [...new Set(Object.values(map))].sort();
  for (const name of names) {
    if (name.includes("/") || name.includes("\\") || name.startsWith("..")) throw new UserError("an index names a file outside its directory", { file: index, got: name });
    if (!existsSync(join(directory, name))) throw new UserError("a file that the model's index names is missing", { file: index, missing: name });
  }
  return names;
}
