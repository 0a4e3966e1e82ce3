import { setTimeout as sleep } from "node:timers/promises";
import { checkpoints } from "../activities/train/log/checkpoint.js";
import { openLog } from "../activities/train/log/commit-log.js";
import { readSteps } from "../activities/train/log/steps-file.js";
import type { RunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import type { Artifact } from "../core/stages/results.js";
import type { Gpu } from "../infra/gpu/nvidia-smi.js";
import { fileStore } from "../infra/store/file-store.js";
import { trainDeps } from "../workers/train-deps.js";
import { median, megabytes, short, table } from "./figures.js";
import { settings, type Job } from "./job.js";
import { makeInputs } from "./made.js";
import { children, memoryOf } from "./memory.js";
import { runTraining, type Run } from "./run.js";

/** The engines beside each other on the same rows: speed, memory of each rank, how soon the first step is done, what a kill costs. */

/** An engine in one precision. */
export interface Contender {
  readonly name: string;
  readonly engine: RunConfig["train"]["engine"];
  readonly precision: RunConfig["train"]["precision"];
}

/** Those that are compared; losses are compared with the first one's. */
export const CONTENDERS: readonly Contender[] = [
  { name: "ONNX Runtime fp32", engine: "onnx", precision: "fp32" },
  { name: "DeepSpeed fp32", engine: "deepspeed", precision: "fp32" },
  { name: "DeepSpeed bf16", engine: "deepspeed", precision: "bf16" },
];

/** The most that was ever resident of one rank's processes, bytes. What ranks share counts in each of them. */
export interface RankMemory {
  /** its Node process */
  readonly rank: number;
  /** the process that computes for it; 0 where the rank's own process computes */
  readonly compute: number;
}

/** What one contender came to, over all rounds. */
export interface ContenderFigures {
  readonly name: string;
  /** medians over the steps of all rounds, but the first of each attempt */
  readonly tokensPerSecond: number;
  readonly rowsPerSecond: number;
  /** seconds from the start of training to the end of its first step, in each round */
  readonly firstStep: readonly number[];
  /** seconds from the SIGKILL of a rank to the end of the first step that was repeated, in each round */
  readonly lost: readonly number[];
  readonly ranks: readonly RankMemory[];
  /** peak of the own memory of all ranks' processes together, plus what they share once; bytes */
  readonly memory: number;
  /** the largest relative difference of a step's loss from the first contender's, over all rounds */
  readonly lossDifference: number;
}

/** What is measured, and how often. */
export interface SideBySide {
  readonly contenders: readonly Contender[];
  readonly workers: number;
  readonly rounds: number;
  /** steps until the checkpoint, and as many after it; the first of each attempt is not counted */
  readonly steps: number;
  /** one for each of DeepSpeed's ranks; none: they compute on the CPU */
  readonly gpus: readonly Gpu[];
}

/** Milliseconds between looks at the processes, and at whether it is time to kill one. Looks cost time, and time is being measured. */
const WATCH_MS = 250;
const KILL_MS = 20;

/**
 * Trains the same steps with each contender in turn, in rounds. In each run a rank is killed one step after the checkpoint.
 * Throws UserError if an engine is not set up, or if steps are too few or too short to kill a rank among them.
 */
export async function benchSideBySide(
  job: Job,
  { contenders, workers, rounds, steps, gpus }: SideBySide,
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<ContenderFigures[]> {
  if (process.platform !== "linux")
    throw new UserError("memory is read from /proc, which this system lacks", { expected: "linux", got: process.platform });
  if (steps < 2)
    throw new UserError("an attempt's first step is not counted, so there must be another", {
      field: "--steps",
      expected: "2 or more",
      got: steps,
    });
  for (const { engine } of contenders) await trainDeps.engines[engine].check();
  say("making a model and rows");
  const { shards } = settings(job, steps, steps, 0).train;
  const inputs = await makeInputs(job, shards * job.rows * 2 * steps, root, signal);
  const trials: Trial[][] = contenders.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const [index, { name, engine, precision }] of contenders.entries()) {
      const { train, ...rest } = settings(job, 2 * steps, steps, round);
      const config = { ...rest, train: { ...train, engine, precision } };
      const trial = await runTrial(inputs, config, workers, engine === "deepspeed" ? gpus : [], root, signal, (line) =>
        say(`round ${round + 1} of ${rounds}, ${name}: ${line}`),
      );
      trials[index]!.push(trial);
    }
  return contenders.map(({ name }, index) => figuresOf(name, trials[index]!, trials[0]!));
}

/** One contender's run of one round. */
interface Trial {
  readonly steps: Run["steps"];
  /** index of the first step of the attempt after the kill */
  readonly resumed: number;
  readonly firstStep: number;
  readonly lost: number;
  readonly ranks: readonly RankMemory[];
  readonly memory: number;
}

async function runTrial(
  inputs: readonly Artifact[],
  config: RunConfig,
  workers: number,
  gpus: readonly Gpu[],
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Trial> {
  signal.throwIfAborted();
  let killed: number | null = null;
  const memory = new MemoryOfRanks();
  const started = Date.now();
  const { steps, attempts } = await runTraining(inputs, config, workers, root, signal, say, {
    gpus,
    async beside(directory, over) {
      for (let looks = 0; !over.aborted; looks++) {
        if (looks % Math.round(WATCH_MS / KILL_MS) === 0) memory.look();
        if (killed === null && (await isPastCheckpoint(directory))) {
          memory.look();
          killed = Date.now();
          process.kill(Number(children().at(-1)), "SIGKILL");
          say("killed a rank");
        }
        await sleep(KILL_MS);
      }
    },
  });
  const [first, second] = attempts;
  if (killed === null || second === undefined)
    throw new UserError("the run was over before a rank could be killed: take more steps, or a larger model", {
      field: "--steps",
      got: steps.length / 2,
    });
  const repeated = second.lines[0]!;
  return {
    steps,
    resumed: repeated.step - 1,
    firstStep: (first!.lines[0]!.time - started) / 1000,
    lost: (repeated.time - killed) / 1000,
    ranks: memory.ranks,
    memory: memory.all,
  };
}

/** Whether a checkpoint is committed and the first attempt has done a step after it, which a kill would lose. */
async function isPastCheckpoint(directory: string): Promise<boolean> {
  const [first] = await readSteps(directory);
  const last = first?.lines.at(-1);
  if (last === undefined) return false;
  const newest = checkpoints(await openLog(fileStore(directory))).at(-1);
  return newest !== undefined && last.step > newest.entry.step;
}

/** Peaks of the ranks' processes, which are this process's only children while it trains. */
class MemoryOfRanks {
  readonly ranks: { rank: number; compute: number }[] = [];
  all = 0;
  /** the rank of each process, also of those that are gone */
  private readonly known = new Map<string, number>();

  look(): void {
    const now = children();
    // an attempt's ranks are started together, in their order
    for (const [rank, process] of now.filter((process) => !this.known.has(process)).entries()) this.known.set(process, rank);
    let own = 0;
    let shared = 0;
    for (const process of now) {
      const node = memoryOf(process);
      const computing = children(process).map(memoryOf);
      const peaks = (this.ranks[this.known.get(process)!] ??= { rank: 0, compute: 0 });
      peaks.rank = Math.max(peaks.rank, node.peak);
      peaks.compute = Math.max(peaks.compute, ...computing.map(({ peak }) => peak));
      for (const each of [node, ...computing]) {
        own += each.own;
        shared = Math.max(shared, each.shared);
      }
    }
    this.all = Math.max(this.all, own + shared);
  }
}

function figuresOf(name: string, trials: readonly Trial[], first: readonly Trial[]): ContenderFigures {
  const counted = trials.flatMap(({ steps, resumed }) => steps.filter((_, index) => index !== 0 && index !== resumed));
  const apart = trials.flatMap(({ steps }, round) =>
    steps.map(({ loss }, index) => (loss === null ? 0 : Math.abs(loss / first[round]!.steps[index]!.loss! - 1))),
  );
  return {
    name,
    tokensPerSecond: median(counted.map(({ tokens, seconds }) => tokens / seconds)),
    rowsPerSecond: median(counted.map(({ rows, seconds }) => rows / seconds)),
    firstStep: trials.map(({ firstStep }) => firstStep),
    lost: trials.map(({ lost }) => lost),
    ranks: trials[0]!.ranks.map((_, rank) => ({
      rank: Math.max(...trials.map(({ ranks }) => ranks[rank]?.rank ?? 0)),
      compute: Math.max(...trials.map(({ ranks }) => ranks[rank]?.compute ?? 0)),
    })),
    memory: Math.max(...trials.map(({ memory }) => memory)),
    lossDifference: Math.max(...apart),
  };
}

/** The figures as a table. */
export function showSideBySide(figures: readonly ContenderFigures[]): string {
  const head = ["", "tokens/s", "rows/s", "first step after", "lost by a kill", "a rank: Node", "Python", "all ranks", "losses apart"];
  const rows = figures.map((each, index) => [
    each.name,
    short(each.tokensPerSecond),
    short(each.rowsPerSecond),
    `${short(median(each.firstStep))} s`,
    `${short(median(each.lost))} s`,
    `${megabytes(Math.max(...each.ranks.map(({ rank }) => rank)))} MB`,
    each.ranks.every(({ compute }) => compute === 0) ? "" : `${megabytes(Math.max(...each.ranks.map(({ compute }) => compute)))} MB`,
    `${megabytes(each.memory)} MB`,
    index === 0 ? "" : each.lossDifference.toExponential(0),
  ]);
  return table([head, ...rows]);
}
