import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../core/errors.js";
import { megabytes, short, table } from "./figures.js";
import { makeInputs } from "./made.js";
import { parameterCount } from "../core/model/names.js";
import { modelOf, settings, SIZES } from "./job.js";
import { runTraining } from "./run.js";

/** What one number of workers needs to train one model; bytes. */
export interface MemoryFigures {
  readonly parameters: number;
  readonly workers: number;
  /** of the shards that the largest worker hosts: both moments and the gradient in fp32, and the copy that a checkpoint is written from */
  readonly states: number;
  /** the largest worker's own memory at its peak */
  readonly own: number;
  /** what all workers map, once */
  readonly shared: number;
  /** all workers together at the peak, with the shared memory once */
  readonly total: number;
}

const STEPS = 3;
const SAMPLE_MS = 50;
const SHARDS = 8;

/** Trains each model a few steps with each number of workers, and looks at the processes. Throws UserError where /proc isn't there. */
export async function benchMemory(
  sizes: readonly string[],
  workerCounts: readonly number[],
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<MemoryFigures[]> {
  if (process.platform !== "linux")
    throw new UserError("memory is read from /proc, which this system lacks", { expected: "linux", got: process.platform });
  const figures: MemoryFigures[] = [];
  for (const size of sizes) {
    const job = SIZES[size];
    if (job === undefined)
      throw new UserError("there is no model of that size", { field: "--sizes", expected: Object.keys(SIZES).join(" "), got: size });
    const parameters = parameterCount(modelOf(job));
    const inputs = await makeInputs(job, SHARDS * STEPS, root);
    for (const workers of workerCounts) {
      signal.throwIfAborted();
      say(`${size} M parameters, ${workers} workers`);
      const seen = await watched(() => runTraining(inputs, settings(job, STEPS, STEPS, 0), workers, root, signal, () => undefined));
      const states = (24 * parameters * Math.ceil(SHARDS / workers)) / SHARDS;
      figures.push({ parameters, workers, states, ...seen });
    }
  }
  return figures;
}

/** Runs `work` and looks at this process's children meanwhile: the peaks of the largest, of the shared memory, and of all together. */
async function watched(work: () => Promise<unknown>): Promise<Pick<MemoryFigures, "own" | "shared" | "total">> {
  const peak = { own: 0, shared: 0, total: 0 };
  let running = true;
  const done = work().finally(() => (running = false));
  // its error is the caller's, after the loop
  done.catch(() => undefined);
  while (running) {
    const now = children().map(memoryOf);
    const shared = Math.max(0, ...now.map((each) => each.shared));
    peak.own = Math.max(peak.own, ...now.map((each) => each.own));
    peak.shared = Math.max(peak.shared, shared);
    peak.total = Math.max(
      peak.total,
      now.reduce((sum, each) => sum + each.own, shared),
    );
    await sleep(SAMPLE_MS);
  }
  await done;
  return peak;
}

function children(): string[] {
  const threads = readdirSync("/proc/self/task");
  return threads.flatMap((thread) => readFileSync(`/proc/self/task/${thread}/children`, "utf8").split(" ")).filter((id) => id !== "");
}

/** Anonymous memory is a worker's own, mapped shared memory is everybody's; zeros of a process that has just ended. */
function memoryOf(process: string): { own: number; shared: number } {
  let status = "";
  try {
    status = readFileSync(`/proc/${process}/status`, "utf8");
  } catch {
    // it ended between two looks
  }
  return parseStatus(status);
}

/** Bytes from the text of /proc/<pid>/status. */
export function parseStatus(status: string): { own: number; shared: number } {
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { own: field("RssAnon"), shared: field("RssShmem") };
}

/** The figures as a table; megabytes. */
export function showMemory(figures: readonly MemoryFigures[]): string {
  const head = ["parameters", "workers", "a worker's states", "its own memory", "shared by all", "all together"];
  const rows = figures.map(({ parameters, workers, states, own, shared, total }) => [
    `${short(parameters / 1e6)} M`,
    `${workers}`,
    ...[states, own, shared, total].map((bytes) => `${megabytes(bytes)} MB`),
  ]);
  return table([head, ...rows]);
}
