import type { RunConfig } from "../../../core/config/schema.js";
import type { TokenSplit } from "../../../core/rows/token-rows.js";
import { UserError } from "../../../core/errors.js";
import { planStep } from "../../../core/training/step-plan.js";
import type { LogEntry, Loss, Poison } from "./entries.js";

/** A step that kills its worker whenever it is tried: found in the commit log, so that no restart or reset forgets it. */

/** After so many deaths in a row at the same step and shard, the step is taken to be their cause. */
export const TIMES = 3;

/** An attempt's deaths, with those before as far as they have a step and a shard in common and no checkpoint beyond it in between. */
export function repeatedLoss(earlier: readonly LogEntry[], lost: readonly Loss[]): Poison {
  // of several the first step: the others died on their way to it
  const step = Math.min(...lost.map((loss) => loss.step));
  let found: Poison = { step, shards: shardsAt(lost, step), shard: shardIn(lost, step), times: 1 };
  for (const entry of earlier.toReversed()) {
    if (entry.kind === "checkpoint" && entry.step > step) break;
    if (entry.kind !== "end") continue;
    if (entry.poison !== null) break;
    if (entry.lost.length === 0) continue;
    const next = narrowed(found, entry.lost);
    if (next === null) break;
    found = next;
  }
  return found;
}

function narrowed({ step, shards, shard, times }: Poison, lost: readonly Loss[]): Poison | null {
  const common = shardsAt(lost, step).filter((each) => shards.includes(each));
  return common.length === 0 ? null : { step, shards: common, shard: shardIn(lost, step) === shard ? shard : null, times: times + 1 };
}

/** The shard whose rows were computed on, when one worker died at the step. */
function shardIn(lost: readonly Loss[], step: number): number | null {
  const here = lost.filter((loss) => loss.step === step);
  return here.length === 1 ? here[0]!.shard : null;
}

function shardsAt(lost: readonly Loss[], step: number): number[] {
  return lost.flatMap((loss) => (loss.step === step ? loss.shards : [])).sort((a, b) => a - b);
}

/** The error that ends a run because a step kills: it names the step's rows by their index in the data file. */
export function poisonError({ step, shards: hosted, shard, times }: Poison, split: TokenSplit, train: RunConfig["train"]): UserError {
  const shards = shard === null ? hosted : [shard];
  const parts = planStep(split, train, step).microBatches.flatMap((batch) => batch.shards.filter(({ shard }) => shards.includes(shard)));
  const named = (values: readonly number[]): string => [...new Set(values)].sort((a, b) => a - b).join(" ");
  return new UserError(
    `a training step killed its worker ${times} times in a row; training stops before it tries again. Look at the rows with \`roslin inspect\` ` +
      "and whether memory ran out (the kernel's log says so); make room, and start it again: it goes on from the last checkpoint. Without the rows, taken out of the data, it begins anew",
    {
      step,
      // of the shards that the workers hosted, those that have rows in this step
      shards: named(parts.length === 0 ? shards : parts.map(({ shard }) => shard)),
      rows: named(parts.flatMap(({ rows }) => rows.map(({ source }) => source))),
      times,
    },
  );
}
