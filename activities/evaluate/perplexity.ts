import { UserError } from "../../core/errors.js";
import { lossTokens, nextScored } from "../../core/rows/labels.js";
import { binOf, binsUpTo } from "../../core/rows/length-bins.js";
import type { TokenRow, TokenSplit } from "../../core/rows/token-rows.js";
import type { Measured } from "../../core/stages/figures.js";
import type { Perplexity, PerplexityVerdict } from "../../core/stages/metrics.js";
import type { Prompt } from "../../core/text/prompt-kind.js";
import { requestIn } from "../../core/text/request.js";
import type { Decoder } from "../../core/text/tokenizer.js";
import type { Score } from "../../engines/inference.js";
import { sharedText } from "./samples.js";
import type { EvaluationTask } from "./task.js";

/** Rows and tokens that go through a model at once, at most (a longer row goes alone). */
const BATCH_ROWS = 16;
const BATCH_TOKENS = 2048;

/** Rows [start, end) of a split. */
interface Batch {
  readonly start: number;
  readonly end: number;
}

/** What a model loses on a batch: sums of -log p over labels, in nats, of the batch and of each row, and how many labels there are. */
type BatchLoss = Score;

/** How well the models predict the held-out rows. */
export interface PerplexityReport {
  readonly perplexity: Perplexity;
  readonly heldOut: { readonly rows: number; readonly labels: number };
}

/** Figures of the rows with an input and of those without, as far as the prompt tells them apart. */
const BY_INPUT = { with: "perplexity.withInput", without: "perplexity.withoutInput" } as const;

/** The figure of the rows whose length is in a bin. */
function byLength(longest: number): string {
  return `perplexity.upTo${longest}`;
}

/** Whether a row's request has an input, as the figure that it belongs to; null: its prompt does not tell. */
function inputName({ inputIds, labels }: TokenRow, tokenizer: Decoder | null, prompt: Prompt | null): string | null {
  if (tokenizer === null || prompt === null) return null;
  const first = nextScored(labels, 0);
  const text = tokenizer.decode(inputIds.subarray(0, first));
  const next = tokenizer.decode(inputIds.subarray(first, first + 1));
  const { instruction, input } = requestIn(text + sharedText(text, next, prompt), prompt);
  return input !== undefined ? BY_INPUT.with : instruction !== undefined ? BY_INPUT.without : null;
}

/** How well the models predict the responses of the held-out rows, batch by batch. */
export const perplexity: EvaluationTask<Batch, BatchLoss, PerplexityReport> = {
  name: "perplexity",
  version: 2,
  measure: "perplexity",
  items: ({ split }) => planBatches(split),

  async run(model, { start, end }, { split }) {
    const loss = await model.score(Array.from({ length: end - start }, (_, index) => split.row(start + index)));
    if (!Number.isFinite(loss.nll))
      throw new UserError(`the ${model.name} model's loss is not a finite number`, {
        rows: `${split.row(start).source} to ${split.row(end - 1).source}`,
      });
    return loss;
  },

  report({ base, tuned }, { split }) {
    const labels = base.reduce((sum, batch) => sum + batch.labels, 0);
    const perplexityOf = (losses: readonly BatchLoss[]): number | null =>
      labels === 0 ? null : Math.exp(losses.reduce((sum, { nll }) => sum + nll, 0) / labels);
    return {
      perplexity: { base: perplexityOf(base), tuned: perplexityOf(tuned) },
      heldOut: { rows: split.count, labels },
    };
  },

  metrics: ({ preprocess }) =>
    preprocess.testRows === 0
      ? []
      : ["perplexity", "loss", ...Object.values(BY_INPUT), ...binsUpTo(preprocess.maxLength).map((longest) => byLength(longest))],

  figures({ base, tuned, live }, { split, tokenizer, prompt }) {
    const rowsOf = (losses: readonly BatchLoss[]): number[] => losses.flatMap(({ rows }) => rows);
    const [ofBase, ofTuned, ofLive] = [rowsOf(base), rowsOf(tuned), live && rowsOf(live)];
    const items = ofBase.map((loss, row) => ({
      weight: lossTokens(split.row(row).labels),
      base: loss,
      tuned: ofTuned[row]!,
      ...(ofLive && { live: ofLive[row]! }),
    }));
    const measured = (metric: string, kind: Measured["kind"], rows: Measured["items"]): Measured => ({
      metric,
      better: "lower",
      kind,
      items: rows,
    });
    const parts = (nameOf: (row: number) => string | null, order: readonly string[]): Measured[] =>
      order.flatMap((metric) => {
        const rows = items.filter(({ weight }, row) => weight > 0 && nameOf(row) === metric);
        return rows.length === 0 ? [] : [measured(metric, "exp", rows)];
      });
    const bins = items.map((_, row) => binOf(split.row(row).inputIds.length));
    return [
      measured("perplexity", "exp", items),
      measured("loss", "mean", items),
      ...parts((row) => inputName(split.row(row), tokenizer, prompt), Object.values(BY_INPUT)),
      ...parts((row) => byLength(bins[row]!), binsUpTo(Math.max(0, ...bins)).map(byLength)),
    ];
  },

  verdict: (report, { gate }) => judge(report.perplexity, gate.maxPerplexityRatio),
};

/** Cuts a split into batches of neighbouring rows. */
export function planBatches(split: TokenSplit): Batch[] {
  const batches: Batch[] = [];
  let start = 0;
  let tokens = 0;
  for (let row = 0; row < split.count; row++) {
    const { length } = split.row(row).inputIds;
    if (row > start && (row - start === BATCH_ROWS || tokens + length > BATCH_TOKENS)) {
      batches.push({ start, end: row });
      start = row;
      tokens = 0;
    }
    tokens += length;
  }
  if (start < split.count) batches.push({ start, end: split.count });
  return batches;
}

/** Compares the two perplexities; without them the gate stands open. */
export function judge({ base, tuned }: Perplexity, maxPerplexityRatio: number): PerplexityVerdict {
  if (base === null || tuned === null) return { judged: false, passed: true, ratio: null, maxPerplexityRatio };
  const ratio = tuned / base;
  return { judged: true, passed: ratio <= maxPerplexityRatio, ratio, maxPerplexityRatio };
}
