import type { RunConfig } from "../config/schema.js";
import { lossTokens } from "../rows/labels.js";
import { rowsOfStep, trainingPlan } from "./order.js";
import type { TokenRow, TokenSplit } from "../rows/token-rows.js";

/** What every worker knows about a step before it computes: which shard has which rows, and where their tokens and positions lie. */

/** One shard's part of a micro-batch. */
export interface ShardRows {
  readonly shard: number;
  readonly rows: readonly TokenRow[];
  /** tokens in all rows */
  readonly tokens: number;
  /** index of the first token in the micro-batch's shared buffers */
  readonly firstToken: number;
  /** positions that carry loss */
  readonly positions: number;
  /** index of the first such position in the micro-batch's shared buffers */
  readonly firstPosition: number;
}

/** A micro-batch: the shards whose rows carry loss, in order. Other shards add nothing and are left out. */
export interface MicroBatchPlan {
  readonly shards: readonly ShardRows[];
  readonly tokens: number;
  readonly positions: number;
}

/** A step's rows by micro-batch and shard, with its counts. */
export interface StepPlan {
  /** the micro-batches that carry loss */
  readonly microBatches: readonly MicroBatchPlan[];
  /** labels of the whole step: its loss is the mean over them */
  readonly positions: number;
  readonly tokens: number;
  readonly rows: number;
}

/** The most that a micro-batch of a run needs, over all shards. */
export interface Capacity {
  readonly tokens: number;
  /** positions that carry loss */
  readonly positions: number;
  /** the most tokens of one shard */
  readonly shardTokens: number;
}

/** Plans the step with index `step` (0-based) of a training run. */
export function planStep(split: TokenSplit, train: RunConfig["train"], step: number): StepPlan {
  return planRows(split, train, rowsOfStep(split.count, train, step));
}

/** Whether the loss on the test rows is measured after so many steps: every `evalEverySteps`, and after the last one. */
export function evaluatesAfter({ evalEverySteps }: RunConfig["train"], stepsDone: number, totalSteps: number): boolean {
  return evalEverySteps !== null && (stepsDone % evalEverySteps === 0 || stepsDone === totalSteps);
}

/** Plans the measurement of the loss on a split: its rows in their own order, in micro-batches as large as training's. */
export function planEvaluation(split: TokenSplit, train: RunConfig["train"]): StepPlan {
  const size = train.shards * train.microBatch;
  const batch = (first: number): number[] => Array.from({ length: Math.min(size, split.count - first) }, (_, index) => first + index);
  return planRows(
    split,
    train,
    Array.from({ length: Math.ceil(split.count / size) }, (_, index) => batch(index * size)),
  );
}

/** Plans the rows of each micro-batch, by their indices in the split. */
function planRows(split: TokenSplit, train: RunConfig["train"], assigned: readonly (readonly number[])[]): StepPlan {
  const planned = assigned.map((indices): MicroBatchPlan => {
    let tokens = 0;
    let positions = 0;
    const active: ShardRows[] = [];
    const dealt = deal(
      indices.map((index) => split.row(index)),
      train,
    );
    dealt.forEach((rows, shard) => {
      const labels = rows.reduce((sum, row) => sum + lossTokens(row.labels), 0);
      if (labels === 0) return;
      const length = rows.reduce((sum, row) => sum + row.inputIds.length, 0);
      active.push({ shard, rows, tokens: length, firstToken: tokens, positions: labels, firstPosition: positions });
      tokens += length;
      positions += labels;
    });
    return { shards: active, tokens, positions };
  });
  const microBatches = planned.filter((batch) => batch.positions > 0);
  return {
    microBatches,
    positions: microBatches.reduce((sum, batch) => sum + batch.positions, 0),
    tokens: microBatches.reduce((sum, batch) => sum + batch.tokens, 0),
    rows: assigned.flat().length,
  };
}

/**
 * Rows of a micro-batch by shard, at most `microBatch` each. All shards wait for the shard with the most tokens. So the
 * longest rows are dealt first, each to the shard that has the fewest tokens.
 */
function deal(rows: readonly TokenRow[], { shards, microBatch }: RunConfig["train"]): TokenRow[][] {
  const dealt = Array.from({ length: shards }, () => ({ rows: [] as TokenRow[], tokens: 0 }));
  for (const row of rows.toSorted((a, b) => b.inputIds.length - a.inputIds.length)) {
    const free = dealt.filter((hand) => hand.rows.length < microBatch);
    const hand = free.reduce((least, other) => (other.tokens < least.tokens ? other : least));
    hand.rows.push(row);
    hand.tokens += row.inputIds.length;
  }
  return dealt.map((hand) => hand.rows);
}

/** The most that any micro-batch of the run needs; `test`: the rows on which the loss is measured during training, if it is. */
export function capacityOf(split: TokenSplit, train: RunConfig["train"], test: TokenSplit | null = null): Capacity {
  const { totalSteps } = trainingPlan(split.count, train);
  const most = { tokens: 1, positions: 1, shardTokens: 1 };
  const include = ({ microBatches }: StepPlan): void => {
    for (const { tokens, positions, shards } of microBatches) {
      most.tokens = Math.max(most.tokens, tokens);
      most.positions = Math.max(most.positions, positions);
      most.shardTokens = Math.max(most.shardTokens, ...shards.map((part) => part.tokens));
    }
  };
  for (let step = 0; step < totalSteps; step++) include(planStep(split, train, step));
  if (test !== null && train.evalEverySteps !== null) include(planEvaluation(test, train));
  return most;
}
