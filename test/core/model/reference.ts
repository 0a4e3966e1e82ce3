import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TokenRow } from "../../../core/data/tokens.js";
import { parseGptjConfig, type GptjConfig } from "../../../core/model/config.js";
import { elements } from "../../../core/model/names.js";
import { SafetensorsFile } from "../../../infra/model-files.js";
import type { Weights } from "./trainer.js";

/** test/reference, seen from the compiled test. */
export const REFERENCE: string = join(dirname(fileURLToPath(import.meta.url)), "../../../../test/reference");

/** PyTorch's figures for a small model. */
export interface Reference {
  readonly config: GptjConfig;
  readonly rows: readonly TokenRow[];
  readonly weights: Weights;
  readonly expected: {
    readonly input_ids: readonly (readonly number[])[];
    readonly attention_mask: readonly (readonly number[])[];
    readonly loss: number;
    readonly training_losses: readonly number[];
    readonly gradient_norms_before_clipping: readonly number[];
    readonly prompt: readonly number[];
    readonly greedy_continuation: readonly number[];
  };
  tensors(file: string): Weights;
}

export function reference(name: string): Reference {
  const directory = join(REFERENCE, name);
  const json = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), "utf8"));
  const expected = json("expected.json") as Reference["expected"] & { labels: number[][] };
  const rows = expected.attention_mask.map((mask, source): TokenRow => {
    const length = mask.filter((bit) => bit === 1).length;
    return {
      source,
      inputIds: Int32Array.from(expected.input_ids[source]!.slice(0, length)),
      labels: Int32Array.from(expected.labels[source]!.slice(0, length)),
    };
  });
  const tensors = (file: string): Weights => readTensors(join(directory, file));
  return { config: parseGptjConfig(json("config.json"), name), rows, weights: tensors("model.safetensors"), expected, tensors };
}

function readTensors(path: string): Weights {
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
  if (got.length !== expected.length) throw new Error(`lengths differ [expected=${expected.length}, got=${got.length}]`);
  let worst = 0;
  let largest = 0;
  expected.forEach((value, index) => {
    worst = Math.max(worst, Math.abs(value - got[index]!));
    largest = Math.max(largest, Math.abs(value));
  });
  return worst / largest;
}
