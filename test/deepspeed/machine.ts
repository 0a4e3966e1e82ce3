import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { RESULT } from "../../activities/common/stage.js";
import { openLog } from "../../activities/train/log/commit-log.js";
import type { CheckpointEntry, LogEntry } from "../../activities/train/log/entries.js";
import type { StageResult } from "../../core/stages/results.js";
import { fileStore } from "../../infra/store/file-store.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { childrenOf } from "../workers/children.js";
import { startMachine, until, type Machine } from "../workers/machine.js";

/** The whole pipeline on a real server and two GPU workers that compute with DeepSpeed, and a look into its training. */
export interface DeepSpeedMachine extends Machine {
  /** a run of a few hundred steps, with other settings of training */
  configOf(train?: object): object;
  /** The training's log; empty before there is one. */
  log(): Promise<readonly LogEntry[]>;
  lastCheckpoint(): Promise<CheckpointEntry>;
  /** Waits for a checkpoint of an attempt that began after so many entries of the log; returns how many there are then. */
  trainedBeyond(entries: number): Promise<number>;
  /** The losses of all steps of the training that has finished. */
  losses(): readonly number[];
  /** The Python process of a GPU worker's rank. */
  pythonOf(worker: string): number;
}

export async function startDeepSpeed(): Promise<DeepSpeedMachine> {
  const machine = await startMachine(2, (home) => {
    // what was set up for this checkout
    mkdirSync(join(home, "engines"));
    symlinkSync(join(readEnvironment(process.env, CHECKOUT).home, "engines", "deepspeed"), join(home, "engines", "deepspeed"));
    return {};
  });
  /** The training's directory; null before there is one. */
  const directory = (): string | null => {
    const root = join(machine.home, "stages", "train");
    const [key] = existsSync(root) ? readdirSync(root) : [];
    return key === undefined ? null : join(root, key);
  };
  const log = async (): Promise<readonly LogEntry[]> => {
    const at = directory();
    return at === null ? [] : (await openLog(fileStore(at))).entries;
  };
  return {
    ...machine,
    log,
    configOf(train = {}) {
      const few = { engine: "deepspeed", shards: 2, microBatch: 4, workers: { min: 1, waitSeconds: 20 } };
      return { ...machine.config, train: { ...machine.config.train, ...few, ...train } };
    },
    async lastCheckpoint() {
      return (await log()).findLast((entry): entry is CheckpointEntry => entry.kind === "checkpoint")!;
    },
    async trainedBeyond(entries) {
      let now: readonly LogEntry[] = [];
      await until(async () => {
        now = await log();
        const attempt = now.findIndex(({ kind }, index) => index >= entries && kind === "attempt");
        return attempt >= 0 && now.slice(attempt).some(({ kind }) => kind === "checkpoint");
      });
      return now.length;
    },
    losses() {
      const { metrics } = JSON.parse(readFileSync(join(directory()!, RESULT), "utf8")) as StageResult<"train">;
      return metrics.losses as number[];
    },
    pythonOf(worker) {
      const [pid] = childrenOf(machine.pid(worker));
      return pid!;
    },
  };
}
