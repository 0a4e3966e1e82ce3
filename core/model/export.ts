import type { Bytes } from "../graph/graph.js";
import { elements, type Graph } from "../graph/tensor.js";
import { allParameters, type Model, type WeightSpec } from "./family.js";

/** The model file's name, which is where transformers.js looks. */
const FILE = "model.onnx";

/** How many bytes of weights may lie in the model file, which is made in memory, and in a data file, which transformers.js reads into one buffer. */
export interface ExportLimits {
  readonly inline: number;
  readonly data: number;
}

/** Those of a real export. */
export const EXPORT_LIMITS: ExportLimits = { inline: 256 * 2 ** 20, data: 1.9e9 };

/** A file of weights beside an ONNX model: fp32, one weight after the other. */
export interface DataFile {
  readonly name: string;
  readonly bytes: number;
  readonly weights: readonly WeightSpec[];
}

/** Where the weights of an ONNX export lie, as transformers.js looks for them. */
export interface ExportPlan {
  /** name of the model file */
  readonly file: string;
  /** empty: all weights are in the model file */
  readonly dataFiles: readonly DataFile[];
  /** where each weight lies that isn't in the model file, by its name */
  readonly places: ReadonlyMap<string, Exclude<Bytes, Uint8Array>>;
}

/** Plans the export of a model as `model.onnx`, with `model.onnx_data`, `model.onnx_data_1`, … where it is large. */
export function planExport({ parameters }: Model, limits: ExportLimits): ExportPlan {
  const weights = allParameters(parameters);
  const bytesOf = ({ shape }: WeightSpec): number => 4 * elements(shape);
  const places = new Map<string, Exclude<Bytes, Uint8Array>>();
  const dataFiles: { name: string; bytes: number; weights: WeightSpec[] }[] = [];
  if (weights.reduce((sum, spec) => sum + bytesOf(spec), 0) <= limits.inline) return { file: FILE, dataFiles, places };
  for (const spec of weights) {
    const length = bytesOf(spec);
    if (dataFiles.length === 0 || dataFiles.at(-1)!.bytes + length > limits.data)
      dataFiles.push({ name: `${FILE}_data${dataFiles.length === 0 ? "" : `_${dataFiles.length}`}`, bytes: 0, weights: [] });
    const last = dataFiles.at(-1)!;
    places.set(spec.name, { location: last.name, offset: last.bytes, length });
    last.weights.push(spec);
    last.bytes += length;
  }
  return { file: FILE, dataFiles, places };
}

/** The ONNX model of a plan; `read` gives the little-endian fp32 bytes of weights that lie in it. */
export function exportGraph({ family, shape, parameters }: Model, plan: ExportPlan, read: (spec: WeightSpec) => Uint8Array): Graph {
  return family.decoder(shape, parameters, (spec) => plan.places.get(spec.name) ?? read(spec));
}
