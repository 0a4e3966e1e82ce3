import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { preprocess } from "../activities/preprocess/preprocess.js";
import { outputNamed, type Artifact } from "../core/stages/results.js";
import { uniformAt } from "../core/rows/random.js";
import { encodeChunk } from "../core/format/token-chunk.js";
import { TOKEN_INDEX } from "../core/format/token-shards.js";
import { elements } from "../core/graph/tensor.js";
import { allParameters, type ParameterSpec } from "../core/model/family.js";
import { gpt2Tokenizer } from "../demo/tokenizer.js";
import { artifactOf, sha256 } from "../infra/disk/files.js";
import { writeSafetensors } from "../infra/weights/safetensors-writer.js";
import { preprocessDeps } from "../workers/preprocess-deps.js";
import { modelOf, settings, type Job } from "./job.js";

/** A job's model, made from a seed, and its rows: training's inputs. */

const SEED = 1;
/** Elements made and written at a time. */
const CHUNK = 1 << 20;

/** Writes a random model, and `rows` rows of random words or those of the job's dataset, below `root`. */
export async function makeInputs(job: Job, rows: number, root: string, signal: AbortSignal): Promise<Artifact[]> {
  const model = join(root, "model");
  await mkdir(model, { recursive: true });
  const { parameters, configJson } = modelOf(job);
  const specs = new Map(allParameters(parameters).map((spec) => [spec.name, spec]));
  const tensors = [...specs.values()].map(({ name, shape }) => ({ name, dtype: "F32" as const, shape }));
  await writeSafetensors(join(model, "model.safetensors"), tensors, (name) => values(specs.get(name)!));
  await writeFile(join(model, "config.json"), JSON.stringify(configJson));
  if (job.dataset !== null) await writeFile(join(model, "tokenizer.json"), JSON.stringify(gpt2Tokenizer()));
  const artifact = await artifactOf("model", model);
  return [artifact, job.dataset === null ? await makeTokens(job, rows, root) : await tokenize(job, job.dataset, artifact, root, signal)];
}

async function makeTokens(job: Job, rows: number, root: string): Promise<Artifact> {
  const tokens = join(root, "tokens");
  await mkdir(tokens, { recursive: true });
  const made = Array.from({ length: rows }, (_, source) => {
    const inputIds = Array.from({ length: job.length }, (_each, at) => Math.floor(uniformAt(SEED, source, at) * job.vocabulary));
    return { source, inputIds, labels: inputIds };
  });
  const file = "00000.safetensors";
  const chunk = encodeChunk(made);
  await writeFile(join(tokens, file), chunk);
  const digest = "0".repeat(64);
  const chunks = [{ file, sha256: sha256(chunk), bytes: chunk.length, rows }];
  await writeFile(join(tokens, TOKEN_INDEX), JSON.stringify({ version: 1, inputs: { model: digest, dataset: digest }, chunks, test: [] }));
  return artifactOf("tokens", tokens);
}

/** A dataset's rows, as the preprocess stage makes tokens of them. */
async function tokenize(job: Job, dataset: string, model: Artifact, root: string, signal: AbortSignal): Promise<Artifact> {
  const inputs = [model, await artifactOf("dataset", resolve(dataset))];
  const request = { config: settings(job, 1, 1, 0), inputs, root };
  return outputNamed((await preprocess(preprocessDeps(), request, { signal, progress: () => undefined })).outputs, "tokens");
}

/** A fresh model's values: norms of one, biases of zero, and small numbers around zero. */
function* values({ shape, initial }: ParameterSpec): Iterable<Uint8Array> {
  let state = SEED;
  const small = (): number => {
    // a plain congruential generator: hundreds of millions of numbers, none of them a secret
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return state * 1.6e-11;
  };
  const fixed = initial === "one" ? 1 : initial === "zero" ? 0 : null;
  const count = elements(shape);
  for (let first = 0; first < count; first += CHUNK) {
    const part = new Float32Array(Math.min(CHUNK, count - first));
    if (fixed === null) for (let i = 0; i < part.length; i++) part[i] = small();
    else part.fill(fixed);
    yield new Uint8Array(part.buffer);
  }
}
