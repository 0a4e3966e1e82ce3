import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { uniformAt } from "../../core/rows/random.js";
import { layoutFile } from "../../core/format/safetensors.js";
import { elements } from "../../core/graph/tensor.js";
import { modelOf } from "../../core/model/families.js";
import { allParameters } from "../../core/model/family.js";

/** A job of some seconds. Each stage is long enough to be hit: files of more than one part in S3, several chunks, ten checkpoints. */

const MODEL = "chaos/gptj";
const DATASET = "chaos/rows";

/** The model's config.json. */
export const CONFIG = {
  architectures: ["GPTJForCausalLM"],
  model_type: "gptj",
  n_layer: 2,
  n_head: 4,
  n_embd: 64,
  n_inner: null,
  n_positions: 64,
  rotary_dim: 8,
  vocab_size: 34_000,
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  bos_token_id: 0,
  eos_token_id: 0,
  tie_word_embeddings: false,
  dtype: "float32",
};

/** Logical shards: more than there are workers. */
export const SHARDS = 4;

const ROWS = 9000;
const SEED = 7;

/** Makes what the hub serves: a model of 18 MB and 9,000 short rows of tokens. */
export function makeJob(root: string): void {
  const model = join(root, "models", MODEL);
  const dataset = join(root, "datasets", DATASET);
  for (const directory of [model, dataset]) mkdirSync(directory, { recursive: true });
  writeFileSync(join(model, "config.json"), JSON.stringify(CONFIG));
  writeFileSync(join(model, "model.safetensors"), weights());
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const input_ids = Array.from({ length: 6 + (row % 9) }, (_, index) => (row * 31 + index * 3) % 300);
    return { input_ids, labels: input_ids.map((id, index) => (index < 3 ? -100 : id)) };
  });
  writeFileSync(join(dataset, "rows.json"), JSON.stringify(rows));
}

/** Seconds that a run waits for workers: fewer than a stop lasts. */
export const WAIT_SECONDS = 5;

/** A run's settings; `target` is where it publishes. "other": a second job that shares the download and the tokens. */
export function jobConfig(target: string, which: "usual" | "other" = "usual", waitSeconds: number = WAIT_SECONDS): object {
  return {
    model: { source: `hf://${MODEL}@main` },
    dataset: { source: `hf://${DATASET}@main` },
    preprocess: { maxLength: 32, testRows: 24 },
    train: {
      shards: SHARDS,
      microBatch: 1,
      maxSteps: which === "usual" ? 40 : 24,
      learningRate: which === "usual" ? 1e-3 : 2e-3,
      checkpointEverySteps: 4,
      workers: { min: 1, waitSeconds },
    },
    evaluate: { generateSamples: 1, gate: { maxPerplexityRatio: 1000 } },
    publish: { target },
  };
}

function weights(): Buffer {
  const specs = allParameters(modelOf(CONFIG, "the job's model").parameters).map((spec) => ({ ...spec, dtype: "F32" as const }));
  const { header, entries, fileBytes } = layoutFile(specs);
  const file = Buffer.alloc(fileBytes);
  file.set(header);
  for (const [number, { name, shape, offset }] of entries.entries())
    for (let index = 0; index < elements(shape); index++) {
      const value = /\.ln_\w+\.weight$/.test(name) ? 1 : name.endsWith(".bias") ? 0 : (uniformAt(SEED, number, index) - 0.5) * 0.2;
      file.writeFloatLE(value, offset + index * 4);
    }
  return file;
}
