import { uniformAt } from "../../core/rows/random.js";
import { STAGES, type StageName } from "../../core/stages/results.js";
import type { HttpTrouble } from "./http-proxy.js";

/** What goes wrong in a run, and when: a pure function of the seed. */

/** What is struck: a process, several, a line between two, bytes on the disk, the disk itself, or the run as a whole. */
export type Target =
  | "pipeline"
  | "one GPU worker"
  | "two GPU workers"
  | "all GPU workers"
  | "all workers"
  | "its reader"
  | "supervisor"
  | "everything"
  | "temporal"
  | "s3"
  | "hub"
  | "line to the hub"
  | "line to S3"
  | "lines to Temporal"
  | "pipeline's line to Temporal"
  | "one GPU worker's line to Temporal"
  | "checkpoint"
  | "tokens"
  | "partial download"
  | "model"
  | "tuned model"
  | "disk"
  | "run";

/**
 * "stop": SIGSTOP for longer than the heartbeat timeout, then SIGCONT; "silence": the same for a line; "flip": one bit changes;
 * "tear": a file loses its end; "full": the disk has no free byte for a while; "reset", "cancel", "terminate": by the Temporal
 * CLI. A cancelled or terminated run is started again.
 */
export type Kind = "kill" | "term" | "stop" | HttpTrouble | "silence" | "flip" | "tear" | "full" | "reset" | "cancel" | "terminate";

/** The moments that can be seen from outside, with their stages, in the order in which a run reaches them. */
export const MOMENTS = {
  "download begins": "download",
  "part of a file is there": "download",
  "preprocessing begins": "preprocess",
  "a chunk is there": "preprocess",
  "training begins": "train",
  "memory is shared": "train",
  "a shard is being written": "train",
  "weights are being updated": "train",
  "4 commits": "train",
  "shards wait for their commit": "train",
  "a commit is read": "train",
  "a checkpoint is read": "train",
  "8 commits": "train",
  "the model is being written": "train",
  "evaluation begins": "evaluate",
  "an item is evaluated": "evaluate",
  "publishing begins": "publish",
  "a part is sent": "publish",
  "all parts are sent": "publish",
  "completion is asked for": "publish",
  "the manifest is sent": "publish",
  "latest.json is read": "publish",
} as const satisfies Readonly<Record<string, StageName>>;
/** One of them. */
export type Moment = keyof typeof MOMENTS;

/** One fault of a run. */
export interface Fault {
  readonly kind: Kind;
  readonly target: Target;
  readonly moment: Moment;
  /** milliseconds between the moment and the blow */
  readonly delayMs: number;
  /** in [0, 1): decides which worker, which file and which byte */
  readonly where: number;
}

type Blow = Pick<Fault, "kind" | "target">;

const EVERYWHERE: readonly Target[] = ["pipeline", "pipeline", "supervisor", "temporal", "everything"];
const GPUS: readonly Target[] = ["one GPU worker", "one GPU worker", "two GPU workers", "all GPU workers", "all workers"];

/** Processes that can be struck in a stage. A process that is listed twice is struck more often. */
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

/** Lines that matter in a stage, besides those to Temporal. */
const HTTP: Partial<Readonly<Record<StageName, Target>>> = { download: "line to the hub", publish: "line to S3" };
const TROUBLES: readonly HttpTrouble[] = ["cut", "500", "503", "slow", "lost answer"];

/** Moments that are over in a millisecond, or for which a worker must be made to read: only these processes can be struck there. */
const POINTED: Partial<Readonly<Record<Moment, Target>>> = {
  "weights are being updated": "one GPU worker",
  "a commit is read": "its reader",
  "a checkpoint is read": "its reader",
};

const LONGEST_DELAY_MS = 400;
/** Kinds that take long: a run has at most one of them. */
const LONG: readonly Kind[] = ["stop", "silence"];

/** `count` faults in the order of their moments. `stages`: the stages to strike in. */
export function planFaults(seed: number, count: number, stages: readonly StageName[] = STAGES): Fault[] {
  const order = Object.keys(MOMENTS) as Moment[];
  const moments = order.filter((moment) => stages.includes(MOMENTS[moment]));
  let long = 0;
  const faults = Array.from({ length: count }, (_, index): Fault => {
    const random = (stream: number): number => uniformAt(seed, stream, index);
    const moment = pick(moments, random(1));
    const rest = { moment, delayMs: Math.floor(random(3) ** 2 * LONGEST_DELAY_MS), where: random(4) };
    const blow = blowAt(moment, random);
    if (!LONG.includes(blow.kind) || long++ === 0) return { ...blow, ...rest };
    return { ...blow, kind: blow.kind === "stop" ? "kill" : "cut", ...rest };
  });
  return faults.sort((a, b) => order.indexOf(a.moment) - order.indexOf(b.moment));
}

function blowAt(moment: Moment, random: (stream: number) => number): Blow {
  const stage = MOMENTS[moment];
  const only = POINTED[moment];
  if (only !== undefined) return { kind: random(2) < 0.2 ? "stop" : "kill", target: only };
  const share = random(2);
  if (share < 0.14) return { kind: random(6) < 0.7 ? "flip" : "tear", target: pick(BYTES[stage], random(5)) };
  if (share < 0.3 && HTTP[stage] !== undefined && random(7) < 0.7) return { kind: pick(TROUBLES, random(5)), target: HTTP[stage] };
  if (share < 0.3) {
    const lines: Target[] = ["lines to Temporal", "pipeline's line to Temporal"];
    if (stage === "train") lines.push("one GPU worker's line to Temporal", "one GPU worker's line to Temporal");
    return { kind: random(6) < 0.6 ? "cut" : "silence", target: pick(lines, random(5)) };
  }
  if (share < 0.38) return { kind: "full", target: "disk" };
  if (share < 0.48) return { kind: pick<Kind>(["reset", "cancel", "terminate"], random(5)), target: "run" };
  const target = pick(PROCESSES[stage], random(5));
  if (target === "everything") return { kind: "kill", target };
  // a stopped supervisor stops no other process
  if (share < 0.57 && target !== "supervisor") return { kind: "stop", target };
  return { kind: share < 0.7 ? "term" : "kill", target };
}

function pick<T>(choices: readonly T[], random: number): T {
  return choices[Math.floor(random * choices.length)]!;
}

/** What else runs at the same time: nothing, a second run of the same input, or a run of another input. */
export type Company = "none" | "the same input" | "another input";

/** The company of a run; every fourth run has some. */
export function companyOf(seed: number): Company {
  const share = uniformAt(seed, 9, 0);
  return share < 0.75 ? "none" : share < 0.875 ? "the same input" : "another input";
}

/** A fault in a few words. */
export function describe({ kind, target, moment, delayMs }: Fault): string {
  return `${kind} ${target}, ${delayMs} ms after "${moment}"`;
}
