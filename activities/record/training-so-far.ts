import type { Ledger } from "../../core/stages/ledger.js";
import type { StepRecord } from "../../engines/engine.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { Curves } from "../report/story.js";
import { checkpoints, history } from "../train/log/checkpoint.js";
import { openLog } from "../train/log/commit-log.js";
import { ledgerSoFar } from "../train/log/make-ledger.js";
import { readSteps, type StepLine } from "../train/log/steps-file.js";

/** What a training that has not finished came to so far. */
export interface TrainingSoFar {
  readonly losses: readonly (number | null)[];
  readonly curves: Curves;
  readonly tokens: number | null;
  /** null: no attempt has begun */
  readonly ledger: Ledger | null;
}

/** Reads a training's records as they are now; `store` has its commit log. */
export async function trainingSoFar(directory: string, store: ObjectStore): Promise<TrainingSoFar> {
  const log = await openLog(store);
  const attempts = await readSteps(directory);
  const saved = checkpoints(log).at(-1);
  const kept: readonly StepRecord[] = saved === undefined ? [] : history(log, saved.commit);
  const keptSteps = saved?.entry.step ?? 0;
  // what the last attempt did since is not in a checkpoint yet; what an earlier one did is lost
  const since = (attempts.at(-1)?.lines ?? []).filter(({ step }) => step > keptSteps);
  const steps: readonly (StepRecord | StepLine)[] = [...kept, ...since];
  const first = keptSteps - kept.length + 1;
  const evaluations = steps.flatMap(({ evaluation }, index) =>
    evaluation === undefined ? [] : [{ step: first + index, loss: evaluation.loss }],
  );
  return {
    losses: steps.map(({ loss }) => loss),
    curves: {
      gradientNorms: steps.map(({ norm }) => norm),
      // only a checkpoint's records know how many tokens there were
      rates: kept.map(({ tokens, seconds }) => tokens / seconds),
      evaluations,
    },
    tokens: kept.length === 0 ? null : kept.reduce((sum, { tokens }) => sum + tokens, 0),
    ledger: ledgerSoFar(log, attempts),
  };
}
