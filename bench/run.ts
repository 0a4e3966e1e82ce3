import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpoints, history } from "../activities/train/log/checkpoint.js";
import { openLog } from "../activities/train/log/commit-log.js";
import { readSteps, type AttemptSteps } from "../activities/train/log/steps-file.js";
import type { StepRecord } from "../engines/engine.js";
import { Stage } from "../activities/common/stage.js";
import type { RunConfig } from "../core/config/schema.js";
import type { Artifact, Progress } from "../core/stages/results.js";
import type { Gpu } from "../infra/gpu/nvidia-smi.js";
import { fileStore } from "../infra/store/file-store.js";
import { trainLocally } from "../workers/local-training.js";
import { trainDeps } from "../workers/train-deps.js";
import { trainDefinition } from "../activities/train/definition.js";

/** Training as users run it: the same worker processes, the same checkpoints. */

/** A run's steps and checkpoints. */
export interface Run {
  readonly steps: readonly StepRecord[];
  /** the checkpoints that were written beside training, so not the last one: steps done, and seconds from the first byte to the commit */
  readonly checkpoints: readonly { readonly step: number; readonly seconds: number }[];
  /** when each attempt did which step */
  readonly attempts: readonly AttemptSteps[];
}

/** How else a run differs from what users do without options. */
export interface RunOptions {
  /** one for each worker; none: all compute on the CPU */
  readonly gpus?: readonly Gpu[];
  /** goes on beside the training, whose directory it gets; it must end soon after `over` is aborted */
  readonly beside?: (directory: string, over: AbortSignal) => Promise<void>;
}

/** Trains in a directory of its own below `root`, which is removed afterwards. `say` is called after each step. */
export async function runTraining(
  inputs: readonly Artifact[],
  config: RunConfig,
  workers: number,
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
  { gpus = [], beside }: RunOptions = {},
): Promise<Run> {
  const work = await mkdtemp(join(root, "run-"));
  try {
    const request = { config, inputs, root: work };
    let last = 0;
    const progress = ({ done, total }: Progress): void => {
      if (done > last) say(`step ${(last = done)} of ${total}`);
    };
    const directory = new Stage(trainDefinition, request).directory;
    const over = new AbortController();
    const training = trainLocally(trainDeps, request, workers, { signal, progress }, undefined, gpus).finally(() => over.abort());
    await Promise.all([training, beside?.(directory, over.signal)]);
    const log = await openLog(fileStore(directory));
    const all = checkpoints(log);
    const writtenBeside = all.slice(0, -1).map(async ({ commit, entry }) => {
      const files = await Promise.all(entry.shards.map(({ file }) => stat(join(directory, file))));
      const committed = await stat(join(directory, "commits", `${String(commit).padStart(6, "0")}.json`));
      return { step: entry.step, seconds: (committed.mtimeMs - Math.min(...files.map((file) => file.birthtimeMs))) / 1000 };
    });
    return { steps: history(log, all.at(-1)!.commit), checkpoints: await Promise.all(writtenBeside), attempts: await readSteps(directory) };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Calls `body` with a temporary directory, in `below` if that is given, and removes it afterwards. */
export async function inDirectory<T>(below: string | undefined, body: (directory: string) => Promise<T>): Promise<T> {
  if (below !== undefined) await mkdir(below, { recursive: true });
  const directory = await mkdtemp(join(below ?? tmpdir(), "roslin-bench-"));
  try {
    return await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
