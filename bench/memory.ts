import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../core/errors.js";
import { parameterCount } from "../core/model/family.js";
import { sharedBytes } from "../engines/onnx/needs.js";
import { megabytes, short, table } from "./figures.js";
import { makeInputs } from "./made.js";
import { modelOf, settings, SIZES } from "./job.js";
import { runTraining } from "./run.js";

/** What one number of workers needs to train one model; bytes. */
export interface MemoryFigures {
  readonly parameters: number;
  readonly workers: number;
  /** state of the shards that the largest worker hosts: both moments, the gradient, and the copy that a checkpoint is written from */
  readonly states: number;
  /** peak of the largest worker's own memory */
  readonly own: number;
  /** memory that all workers map: weights, and what they hand each other */
  readonly shared: number;
  /** peak of all workers' own memory together, plus the shared memory once */
  readonly total: number;
}

const STEPS = 3;
const SAMPLE_MS = 50;
const SHARDS = 8;

/** Trains each model a few steps with each number of workers, and measures the processes. Throws UserError if the system lacks /proc. */
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
  const jobs = sizes.map((size) => {
    const job = SIZES[size];
    if (job !== undefined) return { size, job };
    throw new UserError("there is no model of that size", { field: "--sizes", expected: Object.keys(SIZES).join(" "), got: size });
  });
  for (const { size, job } of jobs) {
    const model = modelOf(job);
    const parameters = parameterCount(model);
    const inputs = await makeInputs(job, SHARDS * STEPS, root, signal);
    const capacity = { tokens: SHARDS * job.length, positions: SHARDS * (job.length - 1) };
    const shared = sharedBytes(model, SHARDS, capacity);
    for (const workers of workerCounts) {
      signal.throwIfAborted();
      const { largest, all } = await watched(
        () => children(),
        () => runTraining(inputs, settings(job, STEPS, STEPS, 0), workers, root, signal, () => undefined),
      );
      const states = (24 * parameters * Math.ceil(SHARDS / workers)) / SHARDS;
      figures.push({ parameters, workers, states, own: largest, shared, total: all + shared });
      say(`${size} M parameters, ${workers} workers: ${megabytes(largest)} MB each, ${megabytes(all + shared)} MB all together`);
    }
  }
  return figures;
}

/**
 * Runs `work` and samples the processes' own memory meanwhile. Resolves to the peaks in bytes, of the largest process and of
 * all together.
 */
export async function watched<T>(
  processes: () => readonly string[],
  work: () => Promise<T>,
  everyMs = SAMPLE_MS,
): Promise<{ readonly largest: number; readonly all: number; readonly result: T }> {
  const peak = { largest: 0, all: 0 };
  let running = true;
  const done = work().finally(() => (running = false));
  // the caller gets its error after the loop
  done.catch(() => undefined);
  while (running) {
    const now = processes().map(ownMemory);
    peak.largest = Math.max(peak.largest, ...now);
    peak.all = Math.max(
      peak.all,
      now.reduce((sum, bytes) => sum + bytes, 0),
    );
    await sleep(everyMs);
  }
  return { ...peak, result: await done };
}

/** Ids of the processes that a process has started. */
export function children(process = "self"): string[] {
  try {
    const threads = readdirSync(`/proc/${process}/task`);
    return threads.flatMap((thread) =>
      readFileSync(`/proc/${process}/task/${thread}/children`, "utf8")
        .split(" ")
        .filter((id) => id !== ""),
    );
  } catch {
    return [];
  }
}

/** Bytes of a process's own memory; 0 if it has just ended. */
function ownMemory(process: string): number {
  return memoryOf(process).own;
}

/** What a process holds, in bytes. */
export interface ProcessMemory {
  /** anonymous memory: neither shared nor backed by a file */
  readonly own: number;
  /** shared memory that it maps */
  readonly shared: number;
  /** the most that was ever resident, of whatever kind */
  readonly peak: number;
}

/** A process's memory; zeros if it has just ended. */
export function memoryOf(process: string): ProcessMemory {
  try {
    return parseStatus(readFileSync(`/proc/${process}/status`, "utf8"));
  } catch {
    return parseStatus("");
  }
}

/** Memory in the text of /proc/<pid>/status. */
export function parseStatus(status: string): ProcessMemory {
  const bytes = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { own: bytes("RssAnon"), shared: bytes("RssShmem"), peak: bytes("VmHWM") };
}

/** What processes hold together, in bytes: what several map counts once. */
export interface HeldMemory {
  readonly anonymous: number;
  /** memory that they share without a file on disk */
  readonly shared: number;
  /** pages of files that they map, which the system takes back where memory is short */
  readonly mapped: number;
}

/** The memory of processes and of all that they started, now. */
export function heldMemory(processes: readonly string[]): HeldMemory {
  const rollups = withDescendants(processes).map((process) => {
    try {
      return readFileSync(`/proc/${process}/smaps_rollup`, "utf8");
    } catch {
      // it has just ended
      return "";
    }
  });
  const sum = (field: string): number =>
    rollups.reduce((total, text) => total + Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024, 0);
  return { anonymous: sum("Pss_Anon"), shared: sum("Pss_Shmem"), mapped: sum("Pss_File") };
}

/** Processes and all that they started. */
export function withDescendants(processes: readonly string[]): string[] {
  return processes.flatMap((process) => [process, ...withDescendants(children(process))]);
}

/** Peaks of what processes held together, looked at until `over` settles: each kind's own, and that of their sum. */
export async function peakHeld(
  processes: () => readonly string[],
  over: Promise<unknown>,
  everyMs: number,
): Promise<HeldMemory & { readonly all: number }> {
  const peak = { anonymous: 0, shared: 0, mapped: 0, all: 0 };
  let running = true;
  const done = over.then(
    () => (running = false),
    () => (running = false),
  );
  while (running) {
    const now = heldMemory(processes());
    for (const kind of ["anonymous", "shared", "mapped"] as const) peak[kind] = Math.max(peak[kind], now[kind]);
    peak.all = Math.max(peak.all, now.anonymous + now.shared + now.mapped);
    await Promise.race([done, sleep(everyMs)]);
  }
  return peak;
}

/** The figures as a table, in megabytes. */
export function showMemory(figures: readonly MemoryFigures[]): string {
  const head = ["parameters", "workers", "a worker's states", "its own memory", "shared by all", "all together"];
  const rows = figures.map(({ parameters, workers, states, own, shared, total }) => [
    `${short(parameters / 1e6)} M`,
    `${workers}`,
    ...[states, own, shared, total].map((bytes) => `${megabytes(bytes)} MB`),
  ]);
  return table([head, ...rows]);
}
