import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import { elements } from "../../../core/graph/tensor.js";
import { modelOf } from "../../../core/model/families.js";
import { allParameters, type Model } from "../../../core/model/family.js";
import { SafetensorsFile } from "../../../infra/weights/model-files.js";
import { readParameter } from "../../../infra/weights/read-parameter.js";
import type { Weights } from "../../engines/onnx/step/solo.js";

/** test/reference, seen from the compiled test. */
export const REFERENCE: string = join(dirname(fileURLToPath(import.meta.url)), "../../../../test/reference");

/** By family: gptj-tiny, four heads of 16, half of each rotated; and the shapes that test/reference/make.py tells of. */
export const REFERENCES = {
  gptj: ["gptj-tiny", "gptj-odd", "gptj-one-head", "gptj-deep"],
  llama: ["llama-one-head", "llama-grouped", "llama-scaled", "llama-deep"],
  qwen: ["qwen2-small", "qwen3-small"],
  gptNeox: ["gpt-neox-one-head", "gpt-neox-serial", "gpt-neox-tied", "gpt-neox-deep"],
} as const;

/** PyTorch's figures for a small model. */
export interface Reference {
  readonly model: Model;
  readonly rows: readonly TokenRow[];
  /** by the parameters' canonical names */
  readonly weights: Weights;
  readonly expected: {
    readonly input_ids: readonly (readonly number[])[];
    readonly attention_mask: readonly (readonly number[])[];
    readonly loss: number;
    /** the rows of each step, where the steps differ */
    readonly steps?: readonly (readonly number[])[];
    readonly train?: object;
    /** null, as the norm, for a step without labels */
    readonly training_losses: readonly (number | null)[];
    readonly gradient_norms_before_clipping: readonly (number | null)[];
    readonly prompt: readonly number[];
    readonly greedy_continuation: readonly number[];
  };
  /** A file's tensors, by the names that they have there. */
  tensors(file: string): Weights;
  /** A file's tensors, by the parameters' canonical names. Every element must belong to a parameter. */
  parameters(file: string): Weights;
  /** the train section of the 20 steps */
  readonly train: object;
}

/** gptj-tiny's steps take its one batch each. */
const TINY_TRAIN = { shards: 2, microBatch: 2, epochs: 20, learningRate: 1e-3, weightDecay: 0.01 };

export function reference(name: string): Reference {
  const directory = join(REFERENCE, name);
  const json = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), "utf8"));
  const made = json("expected.json") as Reference["expected"] & { labels: number[][] };
  // make.py writes 0 for a step that it left out, because it has no labels
  const orNone = (figures: readonly (number | null)[]): (number | null)[] => figures.map((figure) => (figure === 0 ? null : figure));
  const expected = {
    ...made,
    training_losses: orNone(made.training_losses),
    gradient_norms_before_clipping: orNone(made.gradient_norms_before_clipping),
  };
  const rows = expected.attention_mask.map((mask, source): TokenRow => {
    const length = mask.filter((bit) => bit === 1).length;
    return {
      source,
      inputIds: Int32Array.from(expected.input_ids[source]!.slice(0, length)),
      labels: Int32Array.from(expected.labels[source]!.slice(0, length)),
    };
  });
  const tensors = (file: string): Weights => readTensors(join(directory, file));
  const model = modelOf(json("config.json"), name);
  const parameters = (file: string): Weights => readParameters(join(directory, file), model);
  const train = expected.train ?? TINY_TRAIN;
  return { model, rows, weights: parameters("model.safetensors"), expected, tensors, parameters, train };
}

function readParameters(path: string, { family, shape: modelShape, parameters }: Model): Weights {
  const file = new SafetensorsFile(path);
  const weights: Weights = new Map();
  for (const spec of allParameters(parameters)) {
    const values = new Float32Array(elements(spec.shape));
    readParameter(file, family.source(modelShape, spec), 0, values);
    weights.set(spec.name, values);
  }
  const inFile = [...file.entries.values()].reduce((sum, { shape }) => sum + elements(shape), 0);
  const inParameters = [...weights.values()].reduce((sum, { length }) => sum + length, 0);
  assert.equal(inParameters, inFile, `${path} has elements of no parameter`);
  file.close();
  return weights;
}

export function readTensors(path: string): Weights {
  const file = new SafetensorsFile(path);
  const tensors: Weights = new Map();
  for (const { name, shape } of file.entries.values()) {
    const values = new Float32Array(elements(shape));
    file.readFloats(name, 0, values);
    tensors.set(name, values);
  }
  file.close();
  return tensors;
}

/** The largest difference as a share of the expected tensor's largest value. */
export function worstShare(got: Float32Array, expected: Float32Array): number {
  assert.equal(got.length, expected.length);
  let worst = 0;
  let largest = 0;
  expected.forEach((value, index) => {
    const difference = Math.abs(value - got[index]!);
    // a comparison with NaN is false, and would let it pass
    worst = difference <= worst ? worst : difference;
    largest = Math.max(largest, Math.abs(value));
  });
  return worst === 0 ? 0 : worst / largest;
}

/** Every expected tensor is there and differs by at most `share` of its largest value. */
export function assertSameTensors(got: Weights, expected: Weights, share: number, where = ""): void {
  assert.deepEqual([...got.keys()].sort(), [...expected.keys()].sort());
  for (const [name, values] of expected) {
    const worst = worstShare(got.get(name)!, values);
    assert.ok(worst <= share, `${name} differs by ${worst} of its largest value ${where}`);
  }
}

/** Numbers that differ by at most `share` of what is expected, each. */
export function assertClose(got: readonly (number | null)[], expected: readonly (number | null)[], share: number, where = ""): void {
  assert.equal(got.length, expected.length);
  expected.forEach((value, index) => {
    const ours = got[index]!;
    // a step without labels has no loss
    const close = value === null || ours === null ? ours === value : Math.abs(ours - value) <= share * Math.abs(value);
    assert.ok(close, `${index}: ${ours}, expected ${value} ${where}`);
  });
}
