import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createTokenizer, type Tokenizer } from "../../core/text/tokenizer.js";
import type { TokenSplit } from "../../core/rows/token-rows.js";
import { UserError } from "../../core/errors.js";
import type { StageResult } from "../../core/stages/stage.js";
import type { InferenceModel } from "../../engines/onnx/inference/open.js";
import { artifactOf, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { openJournal, type Journal, type Which } from "./journal.js";
import { judge, planBatches, planSamples, type Batch, type Gate, type Perplexity, type SampleTask } from "./items.js";
import { describeSample, takeResponse, type Sample } from "./samples.js";
import { evaluateDefinition } from "./definition.js";
import type { EvaluateDependencies } from "./deps.js";

/** The stage's output, `evaluation.json`. */
export interface Evaluation {
  /** exp of the mean loss over the held-out rows' labels; null where there are none */
  readonly perplexity: Perplexity;
  readonly gate: Gate;
  readonly heldOut: { readonly rows: number; readonly labels: number };
  readonly samples: readonly Sample[];
}

/** Compares the tuned model with its base on the held-out rows, batch by batch and sample by sample, each done once. */
export async function evaluate(
  dependencies: EvaluateDependencies,
  request: StageRequest,
  context: StageContext,
): Promise<StageResult<"evaluate">> {
  const stage = new Stage(evaluateDefinition, request);
  return await stage.run(context, async () => {
    const started = performance.now();
    const paths = { base: stage.path("model"), tuned: stage.path("tuned") };
    const split = (await dependencies.openTokens(stage.path("tokens"))).test;
    const tokenizer = await readTokenizer(paths.base);
    const batches = planBatches(split);
    const tasks = planSamples(split, request.config.evaluate.generateSamples);
    const journal = await openJournal(join(stage.directory, "journal.jsonl"));
    for (const which of ["base", "tuned"] as const) {
      const open = (): Promise<InferenceModel> => dependencies.openInference(paths[which], context.signal);
      await evaluateModel(open, which, { split, batches, tasks, tokenizer, journal }, context);
    }
    const report = summarize(journal, tasks, tokenizer, split.count, request.config.evaluate.gate.maxPerplexityRatio);
    const path = join(stage.directory, "evaluation.json");
    await writeFileAtomic(path, `${JSON.stringify(report, null, 2)}\n`);
    const { perplexity, gate, samples, heldOut } = report;
    const metrics = { seconds: (performance.now() - started) / 1000, perplexity, gate, samples: samples.length, heldOut };
    return { outputs: [await artifactOf("report", path, context.signal)], metrics };
  });
}

/** The model's tokenizer; null when it has none, as with rows that came as tokens. */
async function readTokenizer(directory: string): Promise<Tokenizer | null> {
  const path = join(directory, "tokenizer.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  return text === null ? null : createTokenizer(JSON.parse(text), path);
}

interface Work {
  readonly split: TokenSplit;
  readonly batches: readonly Batch[];
  readonly tasks: readonly SampleTask[];
  readonly tokenizer: Tokenizer | null;
  readonly journal: Journal;
}

/** Does what the journal lacks of one model's batches and samples. */
async function evaluateModel(
  open: () => Promise<InferenceModel>,
  which: Which,
  { split, batches, tasks, tokenizer, journal }: Work,
  context: StageContext,
): Promise<void> {
  const own = journal.items.filter((item) => item.model === which);
  const scored = new Set(own.map((item) => ("batch" in item ? item.batch : -1)));
  const sampled = new Set(own.map((item) => ("sample" in item ? item.sample : -1)));
  const total = 2 * (batches.length + tasks.length);
  const report = (note: string): void => context.progress({ stage: "evaluate", done: journal.items.length, total, unit: "items", note });
  if (own.length === batches.length + tasks.length) return;

  report(`loading the ${which} model`);
  const model = await open();
  try {
    for (const [batch, { start, end }] of batches.entries()) {
      if (scored.has(batch)) continue;
      report(`perplexity of the ${which} model`);
      const score = await model.score(Array.from({ length: end - start }, (_, index) => split.row(start + index)));
      if (!Number.isFinite(score.nll))
        throw new UserError(`the ${which} model's loss is no number`, {
          rows: `${split.row(start).source} to ${split.row(end - 1).source}`,
        });
      await journal.add({ model: which, batch, ...score });
    }
    for (const [sample, task] of tasks.entries()) {
      if (sampled.has(sample)) continue;
      report(`answers of the ${which} model`);
      await journal.add({ model: which, sample, ids: await takeResponse(model.generate(task.prompt), tokenizer) });
    }
  } finally {
    await model.close();
  }
  report(`the ${which} model is done`);
}

function summarize(
  journal: Journal,
  tasks: readonly SampleTask[],
  tokenizer: Tokenizer | null,
  rows: number,
  maxPerplexityRatio: number,
): Evaluation {
  const scores = (which: Which) =>
    journal.items.flatMap((item) => (item.model === which && "batch" in item ? [item] : [])).sort((a, b) => a.batch - b.batch);
  const labels = scores("base").reduce((sum, score) => sum + score.labels, 0);
  const perplexityOf = (which: Which): number | null =>
    labels === 0 ? null : Math.exp(scores(which).reduce((sum, score) => sum + score.nll, 0) / labels);
  const answer = (which: Which, sample: number): readonly number[] =>
    journal.items.flatMap((item) => (item.model === which && "sample" in item && item.sample === sample ? [item.ids] : []))[0]!;
  const perplexity = { base: perplexityOf("base"), tuned: perplexityOf("tuned") };
  return {
    perplexity,
    gate: judge(perplexity, maxPerplexityRatio),
    heldOut: { rows, labels },
    samples: tasks.map((task, index) => describeSample(task, answer("base", index), answer("tuned", index), tokenizer)),
  };
}
