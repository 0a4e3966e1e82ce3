import { existsSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { UserError } from "../../core/errors.js";
import { MAX_FILE_BYTES, planWeights } from "../../core/format/weight-files.js";
import { elements, indexIn } from "../../core/graph/tensor.js";
import { allParameters, type AdapterModule, type ParameterSpec } from "../../core/model/family.js";
import { adapterTensors } from "../../core/model/lora/adapter.js";
import { writeFileAtomic } from "../../infra/disk/files.js";
import type { AdapterFiles } from "../../infra/weights/adapter-files.js";
import type { ModelFiles } from "../../infra/weights/model-files.js";
import { narrowed } from "../../infra/weights/narrow.js";
import { writeSafetensors } from "../../infra/weights/safetensors-writer.js";

/** Merging an adapter [r] into its base: W[O,I] becomes W + scale · B[O,r] @ A[r,I], rounded once to the type that W has in the base's files. */

/** Elements read and merged at a time. */
const CHUNK = 1 << 20;

export interface MergeOptions {
  readonly signal: AbortSignal;
  say(note: string): void;
  /** weights of more bytes go into several files */
  readonly maxFileBytes?: number;
}

/**
 * Writes the weights of a base with an adapter merged into it as the files of an ordinary model, a part at a time; files that
 * an earlier attempt finished stay. Resolves to their names. Throws UserError for a weight that is not finite in its type.
 */
export async function writeMerged(
  base: ModelFiles,
  adapter: AdapterFiles,
  target: string,
  { signal, say, maxFileBytes = MAX_FILE_BYTES }: MergeOptions,
): Promise<string[]> {
  const specs = allParameters(base.model.parameters);
  const { files, index } = planWeights(specs, ({ name }) => base.dtypeOf(name), maxFileBytes);
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const modules = new Map(adapter.modules.map((module) => [`${module.module}.weight`, module]));
  async function* bytesOf(name: string): AsyncIterable<Uint8Array> {
    const spec = byName.get(name)!;
    const dtype = base.dtypeOf(name);
    say(`merging ${name}`);
    for (const [first, values] of mergedParts(base, adapter, spec, modules.get(name))) {
      yield narrowed(values, dtype, (at) => overflow(dtype, name, indexIn(spec.shape, first + at), values[at]!));
      signal.throwIfAborted();
      await breathe();
    }
  }
  for (const { name: file, weights } of files) {
    if (existsSync(join(target, file))) continue;
    const tensors = weights.map(({ name, shape }) => ({ name, dtype: base.dtypeOf(name), shape }));
    await writeSafetensors(join(target, file), tensors, bytesOf);
  }
  if (index !== null) await writeFileAtomic(join(target, index.name), index.text);
  return [...files, ...(index === null ? [] : [index])].map(({ name }) => name);
}

/** Parts of a parameter, whole rows each, with the index of the first element. */
function* mergedParts(
  base: ModelFiles,
  adapter: AdapterFiles,
  { name, shape }: ParameterSpec,
  module: AdapterModule | undefined,
): Iterable<readonly [number, Float32Array]> {
  const width = elements(shape.slice(1));
  const rows = Math.max(1, Math.floor(CHUNK / width));
  const low_RI = module === undefined ? null : readAll(adapter, adapterTensors(module.module).A, 0, module.rank * width);
  for (let row = 0; row < shape[0]!; row += rows) {
    const count = Math.min(rows, shape[0]! - row);
    const values = new Float32Array(count * width);
    base.readFloats(name, row * width, values);
    if (module !== undefined) {
      const { rank, scale } = module;
      const up_OR = readAll(adapter, adapterTensors(module.module).B, row * rank, count * rank);
      addProduct(values, up_OR, low_RI!, { rank, width, scale });
    }
    yield [row * width, values];
  }
}

function readAll(adapter: AdapterFiles, name: string, first: number, count: number): Float32Array {
  const values = new Float32Array(count);
  adapter.readFloats(name, first, values);
  return values;
}

/** Adds scale · B @ A to rows of W: sums in float64; the product, its multiple and the sum are rounded to fp32, as PEFT does. */
function addProduct(
  values_OI: Float32Array,
  up_OR: Float32Array,
  low_RI: Float32Array,
  { rank, width, scale }: { readonly rank: number; readonly width: number; readonly scale: number },
): void {
  const sums_I = new Float64Array(width);
  for (let row = 0; row * width < values_OI.length; row++) {
    sums_I.fill(0);
    for (let at = 0; at < rank; at++) {
      const up = up_OR[row * rank + at]!;
      for (let column = 0; column < width; column++) sums_I[column]! += up * low_RI[at * width + column]!;
    }
    const start = row * width;
    for (let column = 0; column < width; column++) values_OI[start + column]! += Math.fround(Math.fround(sums_I[column]!) * scale);
  }
}

function overflow(dtype: string, tensor: string, index: string, got: number): UserError {
  return new UserError(
    `a merged weight is not finite in the base's own dtype, ${dtype}: set publish.merge to false, which publishes the adapter alone, or begin with the base in another dtype`,
    { tensor, index, got },
  );
}
