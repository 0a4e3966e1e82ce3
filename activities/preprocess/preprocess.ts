import { namedColumns } from "../../core/rows/row-reading.js";
import { COLUMNS } from "../../core/rows/row-rules.js";
import type { StageResult } from "../../core/stages/results.js";
import { warningsOf } from "../../core/stages/words.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import type { RowBatch } from "../../infra/dataset/row.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { tokenizeChunks } from "./chunks.js";
import { finish } from "./gather.js";
import type { RuleChoice } from "./open-rule.js";
import { chooseRule } from "./rule.js";
import { SourceNotes } from "./source-notes.js";
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
    const { config } = request;
    const notes = new SourceNotes();
    const columns = [...COLUMNS, ...namedColumns(config.dataset)];
    const batches = notes.note(dependencies.readRows(dataset, context.signal, columns));
    let tokenizerNote: string | null = null;
    const choose = (first: RowBatch): RuleChoice => {
      const choice = chooseRule(first, { dataset, config, shape, model });
      notes.choose(choice.reading);
      if (choice.kind === "text") tokenizerNote = choice.note;
      return choice;
    };
    const chunks = await tokenizeChunks(batches, context, dependencies.threads, choose, () => dependencies.startThread(directory));
    const tokenized = chunks.reduce((sum, chunk) => sum + chunk.tokenized, 0);
    const used = { ...notes.check(config.dataset), ...(tokenizerNote !== null && { tokenizerNote }) };
    const { tokens, stats } = await finish(stage, chunks, notes.files, config.preprocess);
    for (const note of warningsOf({ ...stats, ...used }))
      context.progress({ stage: "preprocess", done: stats.rows, total: stats.rows, unit: "rows", note, lasting: true });
    const seconds = (performance.now() - started) / 1000;
    return {
      outputs: [tokens],
      metrics: {
        seconds,
        rowsPerSecond: tokenized / seconds,
        cutAt: Math.min(config.preprocess.maxLength, shape.positions),
        ...stats,
        ...used,
      },
    };
  });
}
