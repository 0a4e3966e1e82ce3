import type { EvaluationTask } from "../../../activities/evaluate/task.js";

interface TokenCountReport {
  readonly base: number;
  readonly tuned: number;
}

/** A task of one file: tokens that each model says after the first two tokens of each held-out row. */
export const tokenCount: EvaluationTask<number, { readonly tokens: number }, TokenCountReport> = {
  name: "token-count",
  version: 1,
  measure: "tokens",
  items: ({ split }) => Array.from({ length: split.count }, (_, row) => row),

  async run(model, row, { split }) {
    let tokens = 0;
    for await (const _ of model.generate([[...split.row(row).inputIds.subarray(0, 2)]])) tokens++;
    return { tokens };
  },

  report({ base, tuned }) {
    const sum = (values: typeof base): number => values.reduce((total, { tokens }) => total + tokens, 0);
    return { base: sum(base), tuned: sum(tuned) };
  },
};
