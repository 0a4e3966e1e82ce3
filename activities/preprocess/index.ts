import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../../core/errors.js";
import { parseGptjConfig } from "../../core/model/config.js";
import { outputNamed, type StageResult } from "../../core/stage.js";
import type { RowBatch } from "../../infra/dataset/row.js";
import { runStage, type StageContext, type StageDefinition, type StageFiles, type StageRequest } from "../stage.js";
import { tokenizeChunks } from "./chunks.js";
import { finish } from "./finish.js";
import { chooseRule } from "./rule.js";

/** What preprocessing is handed. */
export interface PreprocessDependencies {
  readonly files: StageFiles;
  /** infra's `readRows` */
  readRows(path: string, signal: AbortSignal): AsyncIterable<RowBatch>;
}

/** What the tokens depend on. */
export const preprocessDefinition: StageDefinition = {
  name: "preprocess",
  version: 1,
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
    const { records, tokenized } = await tokenizeChunks(dependencies, directory, batches, context, (first) =>
      chooseRule(first, { dataset, maxLength, config, tokenizerFile, readTokenizer: () => readJson(tokenizerFile) }),
    );
    const { tokens, stats } = await finish(dependencies, directory, records, request, context.signal);
    const seconds = (performance.now() - started) / 1000;
    return {
      outputs: [tokens],
      metrics: { seconds, rowsPerSecond: tokenized / seconds, cutAt: Math.min(maxLength, config.positions), ...stats },
    };
  });
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as unknown;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    // words need a tokenizer; rows of input_ids and labels don't, so the download takes models without one
    const message = missing
      ? `a file of the model is missing: this dataset needs ${basename(path)} beside the weights`
      : "a file of the model is not JSON";
    throw new UserError(message, { file: path }, { cause: error });
  }
}
