import { mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { StageRequest } from "../../../activities/common/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { SYMBOL_OF_BYTE } from "../../../core/text/byte-symbols.js";
import type { StageResult } from "../../../core/stages/results.js";
import { artifactOf, writeFileAtomic } from "../../../infra/disk/files.js";
import { preprocessDeps } from "../../../workers/preprocess-deps.js";

/** The real parts, put together as the workers do. */
export const dependencies = preprocessDeps(2);

/** A tokenizer with one token a byte, and the end of text as 256. */
export const byteTokenizer = {
  added_tokens: [{ id: 256, content: "<|endoftext|>" }],
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
  model: { type: "BPE", vocab: Object.fromEntries(SYMBOL_OF_BYTE.map((symbol, byte) => [symbol, byte])), merges: [] },
};

/** Writes a model directory as far as preprocessing looks at one. */
export function writeModel(directory: string, config: object = {}, tokenizer: object | null = byteTokenizer): string {
  mkdirSync(directory, { recursive: true });
  const gptj = {
    model_type: "gptj",
    n_embd: 8,
    n_head: 2,
    n_layer: 1,
    rotary_dim: 4,
    vocab_size: 260,
    n_positions: 2048,
    eos_token_id: 256,
    bos_token_id: 256,
    ...config,
  };
  writeFileSync(join(directory, "config.json"), JSON.stringify(gptj));
  if (tokenizer !== null) writeFileSync(join(directory, "tokenizer.json"), JSON.stringify(tokenizer));
  return directory;
}

/** A request for these files, its artifacts digested. */
export async function requestFor(root: string, model: string, dataset: string, preprocess: object): Promise<StageRequest> {
  const inputs = [await artifactOf("model", model), await artifactOf("dataset", dataset)];
  return { root, config: parseRunConfig({ preprocess }), inputs };
}

/** Lets a download result stand where the stages' command would leave it. */
export async function leaveDownload(root: string, request: StageRequest): Promise<void> {
  const result: StageResult = { stage: "download", reused: false, outputs: request.inputs, metrics: { seconds: 0 } };
  await writeFileAtomic(join(root, "download", "0123456789abcdef", "stage.json"), JSON.stringify(result));
}

/** Rows of a JSON-lines file. */
export async function readLines(path: string): Promise<unknown[]> {
  return (await readFile(path, "utf8"))
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as unknown);
}
