import { uniformAt } from "../../core/data/random.js";
import { STAGES, type StageName } from "../../core/stage.js";

/** What goes wrong in a run, and when: a pure function of the seed. */

/** What is struck: a process, several, or bytes on the disk. */
export type Target =
  | "pipeline"
  | "one GPU worker"
  | "two GPU workers"
  | "all GPU workers"
  | "all workers"
  | "supervisor"
  | "temporal"
  | "s3"
  | "hub"
  | "checkpoint"
  | "tokens"
  | "partial download"
  | "model"
  | "tuned model";

/** "stop": SIGSTOP for longer than the heartbeat timeout, then SIGCONT; "trouble": cut connections, then 503; "flip": one bit changes. */
export type Kind = "kill" | "term" | "stop" | "trouble" | "flip";

/** Something that can be seen from outside while a stage is at work. */
export type Moment =
  | "download begins"
  | "part of a file is there"
  | "preprocessing begins"
  | "a chunk is there"
  | "training begins"
  | "memory is shared"
  | "a shard is being written"
  | "shards wait for their commit"
  | "4 commits"
  | "8 commits"
  | "the model is being written"
  | "evaluation begins"
  | "an item is evaluated"
  | "publishing begins"
  | "a part is sent"
  | "all parts are sent";

/** The moments in the order in which a run comes to them. */
export const MOMENTS: Readonly<Record<Moment, StageName>> = {
  "download begins": "download",
  "part of a file is there": "download",
  "preprocessing begins": "preprocess",
  "a chunk is there": "preprocess",
  "training begins": "train",
  "memory is shared": "train",
  "a shard is being written": "train",
  "4 commits": "train",
  "shards wait for their commit": "train",
  "8 commits": "train",
  "the model is being written": "train",
  "evaluation begins": "evaluate",
  "an item is evaluated": "evaluate",
  "publishing begins": "publish",
  "a part is sent": "publish",
  "all parts are sent": "publish",
};

export interface Fault {
  readonly kind: Kind;
  readonly target: Target;
  readonly moment: Moment;
  /** between the moment and the blow */
  readonly delayMs: number;
  /** in [0, 1): which worker, which file, which byte */
  readonly where: number;
}

const EVERYWHERE: readonly Target[] = ["pipeline", "pipeline", "supervisor", "temporal"];
const GPUS: readonly Target[] = ["one GPU worker", "one GPU worker", "two GPU workers", "all GPU workers", "all workers"];

/** Processes that can be struck in a stage; one that is named twice is struck more often. */
const PROCESSES: Readonly<Record<StageName, readonly Target[]>> = {
  download: [...EVERYWHERE, "hub"],
  preprocess: EVERYWHERE,
  train: [...EVERYWHERE, ...GPUS],
  evaluate: EVERYWHERE,
  publish: [...EVERYWHERE, "s3", "s3"],
};

/** Bytes that can be changed in a stage. */
const BYTES: Readonly<Record<StageName, readonly Target[]>> = {
  download: ["partial download"],
  preprocess: ["model"],
  train: ["checkpoint", "checkpoint", "checkpoint", "tokens"],
  evaluate: ["model", "tuned model", "tokens"],
  publish: ["tuned model"],
};

const LONGEST_DELAY_MS = 400;

/** `count` faults in the order of their moments, at most one of them a stop, which takes long. `stages`: where, all if absent. */
export function planFaults(seed: number, count: number, stages: readonly StageName[] = STAGES): Fault[] {
  const moments = (Object.keys(MOMENTS) as Moment[]).filter((moment) => stages.includes(MOMENTS[moment]));
  let stops = 0;
  const faults = Array.from({ length: count }, (_, index): Fault => {
    const random = (stream: number): number => uniformAt(seed, stream, index);
    const pick = <T>(choices: readonly T[], stream: number): T => choices[Math.floor(random(stream) * choices.length)]!;
    const moment = pick(moments, 1);
    const stage = MOMENTS[moment];
    const rest = { moment, delayMs: Math.floor(random(3) ** 2 * LONGEST_DELAY_MS), where: random(4) };
    const dice = random(2);
    if (dice < 0.15 && BYTES[stage].length > 0) return { kind: "flip", target: pick(BYTES[stage], 5), ...rest };
    const target = pick(PROCESSES[stage], 5);
    if (target === "hub" && dice < 0.5) return { kind: "trouble", target, ...rest };
    if (dice < 0.3 && target !== "supervisor" && stops++ === 0) return { kind: "stop", target, ...rest };
    return { kind: dice < 0.5 ? "term" : "kill", target, ...rest };
  });
  const order = Object.keys(MOMENTS);
  return faults.sort((a, b) => order.indexOf(a.moment) - order.indexOf(b.moment));
}

/** A fault in a few words. */
export function describe({ kind, target, moment, delayMs }: Fault): string {
  return `${kind} ${target}, ${delayMs} ms after "${moment}"`;
}
