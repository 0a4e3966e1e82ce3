import type { RunConfig } from "../../../core/config/schema.js";
import { metricsLine, type MetricsLine, type MetricsRun } from "../../../core/training/metrics-line.js";
import { trainingPlan } from "../../../core/training/order.js";
import { readTokenIndex } from "../../../infra/dataset/tokens.js";
import { lineOf } from "./checkpoint.js";
import type { CommitLog } from "./commit-log.js";
import type { AttemptSteps } from "./steps-file.js";

/** What the lines of a training on tokens in a directory have in common. */
export function metricsRun(train: RunConfig["train"], tokens: string, totalSteps: number): MetricsRun {
  const { chunks, test } = readTokenIndex(tokens);
  const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0) - test.length;
  return { train, totalSteps, stepsPerEpoch: trainingPlan(rows, train).stepsPerEpoch };
}

/** The lines of all steps up to a checkpoint; null: the base model. A step whose records are gone has its checkpoint's time. */
export function committedLines(
  run: MetricsRun,
  log: Pick<CommitLog, "entries">,
  commit: number | null,
  attempts: readonly AttemptSteps[],
): MetricsLine[] {
  const times = new Map(
    attempts.flatMap(({ generation, lines }) => lines.map(({ step, time }) => [`${generation} ${step}`, time / 1000] as const)),
  );
  const entries = commit === null ? [] : lineOf(log, commit).reverse();
  return entries.flatMap(({ generation, steps, step: last, time }) =>
    steps.map((record, index) => {
      const step = last - steps.length + index + 1;
      return metricsLine(run, record, { step, generation, time: times.get(`${generation} ${step}`) ?? Date.parse(time) / 1000 });
    }),
  );
}
