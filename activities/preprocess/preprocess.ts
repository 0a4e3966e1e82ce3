import { COLUMNS } from "../../core/rows/row-rules.js";
import type { StageResult } from "../../core/stages/results.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import type { RowBatch } from "../../infra/dataset/row.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { tokenizeChunks } from "./chunks.js";
import { finish } from "./gather.js";
import { chooseRule } from "./rule.js";
import { preprocessDefinition } from "./definition.js";
import type { PreprocessDependencies } from "./deps.js";

/** Turns the dataset's rows into tokens and splits them. Output: the directory "tokens", which infra's `openTokens` reads. */
export async function preprocess(
  dependencies: PreprocessDependencies,
  request: StageRequest,
  context: StageContext,
): Promise<StageResult<"preprocess">> {
  const stage = new Stage(preprocessDefinition, request);
  const { directory } = stage;
  return stage.run(context, async () => {
    const started = performance.now();
    const model = stage.path("model");
    const dataset = stage.path("dataset");
    const { shape } = readModelConfig(model);
    const { maxLength } = request.config.preprocess;
    const batches = dependencies.readRows(dataset, context.signal, COLUMNS);
    const choose = (first: RowBatch) => chooseRule(first, { dataset, maxLength, shape, model });
    const chunks = await tokenizeChunks(batches, context, dependencies.threads, choose, () => dependencies.startThread(directory));
    const tokenized = chunks.reduce((sum, chunk) => sum + chunk.tokenized, 0);
    const { tokens, stats } = await finish(stage, chunks, request.config.preprocess);
    const seconds = (performance.now() - started) / 1000;
    return {
      outputs: [tokens],
      metrics: { seconds, rowsPerSecond: tokenized / seconds, cutAt: Math.min(maxLength, shape.positions), ...stats },
    };
  });
}
