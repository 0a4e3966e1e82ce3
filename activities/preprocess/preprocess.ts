import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { parseGptjConfig } from "../../core/model/gptj/config.js";
import { outputNamed, type StageResult } from "../../core/stages/stage.js";
import type { RowBatch } from "../../infra/dataset/row.js";
import { runStage, type StageContext, type StageDefinition, type StageFiles, type StageRequest } from "../common/stage.js";
import { tokenizeChunks } from "./chunks.js";
import { finish } from "./gather.js";
import { chooseRule, readJson } from "./rule.js";

/** What preprocessing is handed. */
export interface PreprocessDependencies {
  readonly files: StageFiles;
  /** infra's `readRows` */
  readRows(path: string, signal: AbortSignal): AsyncIterable<RowBatch>;
  /** Starts a thread that serves a `tokenizer` of the stage's directory. */
  startThread(directory: string): Worker;
  /** infra's */
  directoryDigest(files: readonly { readonly name: string; readonly sha256: string }[]): string;
  /** so many threads make tokens; what they make does not depend on it */
  readonly threads: number;
}

/** What the tokens depend on. */
export const preprocessDefinition: StageDefinition = {
  name: "preprocess",
  version: 3,
  inputs: ["model", "dataset"],
  settings: ({ preprocess }) => preprocess,
};

/** Turns the dataset's rows into tokens and splits them. Output: the directory "tokens", which infra's `openTokens` reads. */
export async function preprocess(dependencies: PreprocessDependencies, request: StageRequest, context: StageContext): Promise<StageResult> {
  return runStage(dependencies.files, preprocessDefinition, request, context, async (directory) => {
    const started = performance.now();
    const model = fileURLToPath(outputNamed(request.inputs, "model").uri);
    const dataset = fileURLToPath(outputNamed(request.inputs, "dataset").uri);
    const config = parseGptjConfig(await readJson(join(model, "config.json")), join(model, "config.json"));
    const tokenizerFile = join(model, "tokenizer.json");
    const { maxLength } = request.config.preprocess;
    const batches = dependencies.readRows(dataset, context.signal);
    const choose = (first: RowBatch) => chooseRule(first, { dataset, maxLength, config, tokenizerFile });
    const chunks = await tokenizeChunks(batches, context, dependencies.threads, choose, () => dependencies.startThread(directory));
    const tokenized = chunks.reduce((sum, chunk) => sum + chunk.tokenized, 0);
    const { tokens, stats } = await finish(dependencies, directory, chunks, request);
    const seconds = (performance.now() - started) / 1000;
    return {
      outputs: [tokens],
      metrics: { seconds, rowsPerSecond: tokenized / seconds, cutAt: Math.min(maxLength, config.positions), ...stats },
    };
  });
}
