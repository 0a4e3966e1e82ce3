import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { layoutFile } from "../../../../core/format/safetensors.js";
import { elements } from "../../../../core/graph/tensor.js";
import { modelOf } from "../../../../core/model/families.js";
import { allParameters, type Model } from "../../../../core/model/family.js";
import type { Weights } from "../../../engines/onnx/step/solo.js";
import { generator } from "../gptj/made.js";
import { toy } from "./toy.js";

/** A toy's config.json. */
export const CONFIG = { model_type: "toy", layers: 2, heads: 2, width: 8, innerWidth: 12, vocabulary: 13, positions: 40 };

/** A toy with weights from a seed. */
export function madeToy(seed: number): { readonly model: Model; readonly weights: Weights } {
  const next = generator(seed);
  const model = modelOf(CONFIG, "made", [toy]);
  const values = (shape: readonly number[]): Float32Array => Float32Array.from({ length: elements(shape) }, () => next() - 0.5);
  return { model, weights: new Map(allParameters(model.parameters).map(({ name, shape }) => [name, values(shape)])) };
}

/** A tensor of a file. */
export interface FileTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What its files hold, put together from the parameters the other way than they are read: from the tensors' elements. */
export function toyTensors(weights: Weights): Record<string, FileTensor> {
  const { layers, heads, width: D, innerWidth: F, vocabulary: V } = CONFIG;
  const W = D / heads;
  const make = (shape: readonly number[], at: (row: number, column: number) => number): FileTensor => ({
    shape,
    values: Float32Array.from({ length: elements(shape) }, (_, index) => at(Math.floor(index / shape.at(-1)!), index % shape.at(-1)!)),
  });
  const whole = (name: string, ...shape: number[]): FileTensor => ({ shape, values: weights.get(name)! });
  const tensors: Record<string, FileTensor> = { words: whole("words", V, D), norm: whole("norm", D), head: whole("head", V, D) };
  for (let layer = 0; layer < layers; layer++) {
    const of = (name: string): Float32Array => weights.get(`${layer}/${name}`)!;
    for (const name of ["first", "second"]) tensors[`layers.${layer}.${name}`] = whole(`${layer}/${name}`, D);
    tensors[`layers.${layer}.qkv`] = make([3 * D, D], (row, column) => {
      const [head, kind, at] = [Math.floor(row / (3 * W)), Math.floor(row / W) % 3, row % W];
      // of q's and k's rows those with even numbers come first
      const w = kind === 2 ? at : at < W / 2 ? 2 * at : 2 * (at - W / 2) + 1;
      return of(["w.q", "w.k", "w.v"][kind]!)[(head * W + w) * D + column]!;
    });
    tensors[`layers.${layer}.out`] = make([D, D], (row, column) => of("out")[(D - 1 - column) * D + row]!);
    tensors[`layers.${layer}.up`] = make([D, F], (row, column) => of("up")[column * D + row]!);
    tensors[`layers.${layer}.down`] = make([F, D], (row, column) => of("down")[column * F + row]!);
  }
  return tensors;
}

/** A model directory with these tensors, removed after the test. */
export function toyDirectory(context: TestContext, tensors: Readonly<Record<string, FileTensor>>): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-toy-"));
  context.after(() => rmSync(directory, { recursive: true }));
  const specs = Object.entries(tensors).map(([name, { shape }]) => ({ name, shape, dtype: "F32" as const }));
  const { header, entries, fileBytes } = layoutFile(specs);
  const file = Buffer.alloc(fileBytes);
  file.set(header);
  for (const { name, offset } of entries) file.set(new Uint8Array(tensors[name]!.values.slice().buffer), offset);
  writeFileSync(join(directory, "model.safetensors"), file);
  writeFileSync(join(directory, "config.json"), JSON.stringify(CONFIG));
  return directory;
}
