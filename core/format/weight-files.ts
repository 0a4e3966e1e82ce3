import { DTYPE_BYTES, type DType } from "./safetensors.js";

/** Where a model's weights go: one file, or several with an index, as transformers writes and reads them. */

/** The single file's name, and where readers look for it first. */
const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** Bytes of tensors in one file: transformers' own bound, and above it a single upload or download fails as a whole. */
export const MAX_FILE_BYTES = 5e9;

/** A weight by its name, with its sizes. */
interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Which tensors each file gets, in the byte order of their names, and the index; null where one file holds all. */
export interface WeightPlan<W extends Weight = Weight> {
  readonly files: readonly { readonly name: string; readonly weights: readonly W[] }[];
  readonly index: { readonly name: string; readonly text: string } | null;
}

/** Plans the weight files of a model; a tensor larger than `maxBytes` gets a file of its own. `dtype`: that of all weights, or of each. */
export function planWeights<W extends Weight>(specs: readonly W[], dtype: DType | ((weight: W) => DType), maxBytes: number): WeightPlan<W> {
  const sorted = specs.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const bytesOf = (weight: W): number =>
    weight.shape.reduce((product, size) => product * size, DTYPE_BYTES[typeof dtype === "string" ? dtype : dtype(weight)]);
  const groups: { bytes: number; weights: W[] }[] = [];
  for (const spec of sorted) {
    const bytes = bytesOf(spec);
    if (groups.length === 0 || groups.at(-1)!.bytes + bytes > maxBytes) groups.push({ bytes: 0, weights: [] });
    const last = groups.at(-1)!;
    last.bytes += bytes;
    last.weights.push(spec);
  }
  if (groups.length === 1) return { files: [{ name: SINGLE, weights: sorted }], index: null };
  const number = (value: number): string => String(value).padStart(5, "0");
  const files = groups.map(({ weights }, file) => ({
    name: `model-${number(file + 1)}-of-${number(groups.length)}.safetensors`,
    weights,
  }));
  const index = {
    metadata: { total_size: groups.reduce((sum, { bytes }) => sum + bytes, 0) },
    weight_map: Object.fromEntries(files.flatMap(({ name, weights }) => weights.map((spec) => [spec.name, name]))),
  };
  return { files, index: { name: INDEX, text: `${JSON.stringify(index, null, 2)}\n` } };
}
