import { closeSync, openSync, readdirSync, readlinkSync, readSync, statSync, truncateSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../core/errors.js";
import { fillDisk } from "./disk.js";
import type { HttpTrouble } from "./http-proxy.js";
import { leftByCancelled } from "./leftovers.js";
import type { Line } from "./line.js";
import { GPU_WORKERS, startOf, type ChaosMachine } from "./machine.js";
import type { Fault, Target } from "./plan.js";
import { SHARDS } from "./job.js";
import type { View } from "./view.js";

/**
 * Milliseconds of a stop: longer than the heartbeat timeout (10 s) and a run's wait for its workers (5 s), so that the next
 * attempt has begun.
 */
const STOP_MS = 18_000;
/** Milliseconds for which the disk has no free byte. */
const FULL_MS = 6000;
/** Milliseconds in which a reader or an update must be seen. */
const SEEK_MS = 40_000;
/** Milliseconds in which a cancelled run must have saved and ended. */
const CANCEL_MS = 60_000;
/** Milliseconds of looking for a reader without a break. */
const STARE_MS = 50;

/** What a blow needs besides the fault. `begin` starts an ended run again. */
export interface Scene {
  readonly machine: ChaosMachine;
  readonly view: View;
  begin(run: string): Promise<void>;
}

/** Strikes a fault. Resolves when it is over, to false if there was nothing to strike. */
export async function strike(fault: Fault, scene: Scene): Promise<boolean> {
  const { machine, view } = scene;
  switch (fault.kind) {
    case "flip":
    case "tear":
      return damage(fault, machine, view);
    case "full":
      return fill(machine);
    case "reset":
    case "cancel":
    case "terminate":
      return strikeRun(fault, scene);
    case "silence":
      await Promise.all(linesOf(fault, machine).map((line) => line.silence(sleep(STOP_MS))));
      return true;
    case "kill":
    case "term":
    case "stop":
      return strikeProcesses(fault, machine, view);
    default:
      return trouble(fault, fault.kind, machine);
  }
}

function trouble(fault: Fault, kind: HttpTrouble, machine: ChaosMachine): boolean {
  if (fault.target === "line to the hub") machine.toHub.start(kind);
  else if (fault.target === "line to S3") machine.toS3.start(kind);
  else for (const line of linesOf(fault, machine)) line.cut();
  return true;
}

function linesOf({ target, where }: Fault, { toTemporal }: ChaosMachine): Line[] {
  if (target === "lines to Temporal") return [...toTemporal.values()];
  return [toTemporal.get(target === "pipeline's line to Temporal" ? "pipeline" : `gpu-${Math.floor(where * GPU_WORKERS)}`)!];
}

async function fill(machine: ChaosMachine): Promise<boolean> {
  if (!machine.smallDisk) return false;
  const free = fillDisk(machine.home);
  await sleep(FULL_MS).finally(free);
  return true;
}

/** Resets, cancels or terminates a run with the Temporal CLI, as a user would. An ended run is started again with the same input. */
async function strikeRun({ kind, where }: Fault, { machine, view, begin }: Scene): Promise<boolean> {
  const runs = view.running();
  const run = runs[Math.floor(where * runs.length)];
  if (run === undefined) return false;
  const done = async (...args: string[]): Promise<boolean> => {
    // the server may be away just now
    for (const limit = Date.now() + SEEK_MS; view.running().includes(run); await sleep(500))
      try {
        await machine.temporal("workflow", ...args, "--workflow-id", run);
        return true;
      } catch (error) {
        if (Date.now() > limit || /usage:|unknown flag|can only be used/i.test(messageOf(error))) throw error;
      }
    return false;
  };
  const type = (where * 7919) % 1 < 0.5 ? "FirstWorkflowTask" : "LastWorkflowTask";
  if (kind === "reset") return done("reset", "--type", type, "--reason", "chaos");
  // a user waits until a cancelled run has ended; after a terminate, activities may still be at work when the next run begins
  if (!(await done(kind))) return false;
  if (kind === "cancel") await untilCancelled(run, machine, view);
  await begin(run);
  // until the view sees the new run, it takes the run for ended
  for (const limit = Date.now() + SEEK_MS; !view.running().includes(run) && Date.now() < limit;) await sleep(20);
  return true;
}

/** Waits until a cancelled run has ended. If no other run continues its work, it must have cleaned up. */
async function untilCancelled(run: string, machine: ChaosMachine, view: View): Promise<void> {
  for (const limit = Date.now() + CANCEL_MS; view.running().includes(run) && Date.now() < limit;) await sleep(50);
  if (view.running().length > 0) return;
  const left = await leftByCancelled(machine.home, (await machine.untilUp()).s3!);
  if (left.length > 0) throw new Error(`the cancelled run left something behind: ${left.join(", ")}`);
}

async function strikeProcesses(fault: Fault, machine: ChaosMachine, view: View): Promise<boolean> {
  if (fault.target === "its reader") return strikeReader(fault, machine, view);
  const pids = await targets(fault, machine);
  const starts = pids.map(startOf);
  const signal = { kill: "SIGKILL", term: "SIGTERM", stop: "SIGSTOP" }[fault.kind as "kill" | "term" | "stop"] as NodeJS.Signals;
  let struck: boolean[] = [];
  const blow = (): void => void (struck = pids.map((pid) => send(pid, signal)));
  if (fault.moment !== "weights are being updated") blow();
  else if (!(await amidUpdate(Math.floor(fault.where * SHARDS), view, blow))) return false;
  if (fault.kind === "stop") await goOn(pids, starts);
  return struck.includes(true);
}

/** Strikes in the optimizer's update of the newest attempt. Resolves to false if training ends before. */
async function amidUpdate(shard: number, view: View, blow: () => void): Promise<boolean> {
  for (const limit = Date.now() + SEEK_MS; Date.now() < limit && !view.isBeyond("train"); await sleep(20))
    if (await view.weights!.amidUpdate(shard, limit, blow)) return true;
  return false;
}

async function goOn(pids: readonly number[], starts: readonly (string | null)[]): Promise<void> {
  await sleep(STOP_MS);
  for (const [index, pid] of pids.entries()) if (startOf(pid) === starts[index]) send(pid, "SIGCONT");
}

/**
 * Kills a worker, so that the next attempt reads what the last one has left, and strikes the process that has such a file
 * open. If no process is caught reading before that attempt's first checkpoint, it tries again.
 */
async function strikeReader(fault: Fault, machine: ChaosMachine, view: View): Promise<boolean> {
  const what = fault.moment === "a commit is read" ? /\/commits\/\d+\.json$/ : /\/shards\/[^/]*\.safetensors$/;
  for (const limit = Date.now() + SEEK_MS; Date.now() < limit && !view.isBeyond("train");) {
    for (const pid of await targets({ ...fault, target: "one GPU worker" }, machine)) send(pid, "SIGKILL");
    // three commits: the end of the last attempt, the new attempt, its checkpoint
    const after = view.commits() + 3;
    for (; Date.now() < limit && view.commits() < after && !view.isBeyond("train"); await sleep(1)) {
      const reader = await readerOf(what, machine);
      if (reader === null) continue;
      const start = startOf(reader);
      const struck = send(reader, fault.kind === "stop" ? "SIGSTOP" : "SIGKILL");
      if (fault.kind === "stop") await goOn([reader], [start]);
      return struck;
    }
  }
  return false;
}

/** The id of a worker process that has such a file open, looked for without a break for a while; null: none has. */
async function readerOf(what: RegExp, machine: ChaosMachine): Promise<number | null> {
  const pids = await machine.pids((name) => name === "pipeline" || name.startsWith("gpu-"));
  for (const until = Date.now() + STARE_MS; Date.now() < until;) {
    const reader = pids.find((pid) => hasOpen(pid, what));
    if (reader !== undefined) return reader;
  }
  return null;
}

function hasOpen(pid: number, what: RegExp): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((file) => {
      try {
        return what.test(readlinkSync(`/proc/${pid}/fd/${file}`));
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

async function targets({ target, where }: Pick<Fault, "target" | "where">, machine: ChaosMachine): Promise<number[]> {
  const gpus = await machine.pids((name) => name.startsWith("gpu-"));
  const first = Math.floor(where * gpus.length);
  const groups: Partial<Record<Target, number[]>> = {
    "one GPU worker": gpus.slice(first, first + 1),
    "two GPU workers": [...gpus, ...gpus].slice(first, first + 2),
    "all GPU workers": gpus,
    "all workers": [...gpus, ...(await machine.pids((name) => name === "pipeline"))],
    everything: await machine.pids(() => true),
  };
  return groups[target] ?? machine.pids((name) => name === target);
}

/** Changes a bit of a file or cuts its end, and kills a worker, so that the file is read again. */
async function damage(fault: Fault, machine: ChaosMachine, view: View): Promise<boolean> {
  const files: Partial<Record<Target, string[]>> = {
    checkpoint: newest(view.files("train", "shards", /\.safetensors$/)),
    tokens: view.files("preprocess", "tokens", /\.safetensors$/),
    "partial download": view.parts(),
    model: view.models(),
    "tuned model": view.files("train", "model", /\.safetensors$/),
  };
  const choices = files[fault.target]!;
  const file = choices[Math.floor(fault.where * choices.length)];
  if (file === undefined || !(fault.kind === "flip" ? flipBit : tear)(file, (fault.where * 7919) % 1)) return false;
  const reader = fault.target === "checkpoint" || fault.target === "tokens" ? "one GPU worker" : "pipeline";
  for (const pid of await targets({ ...fault, target: reader }, machine)) send(pid, "SIGKILL");
  return true;
}

/** The files of the newest checkpoint: names begin with generation and step. */
function newest(shards: readonly string[]): string[] {
  const last = shards.toSorted().at(-1);
  return last === undefined ? [] : shards.filter((file) => file.startsWith(last.slice(0, last.lastIndexOf("-"))));
}

function flipBit(path: string, where: number): boolean {
  try {
    const file = openSync(path, "r+");
    try {
      const offset = Math.floor(where * statSync(path).size);
      const byte = Buffer.alloc(1);
      readSync(file, byte, 0, 1, offset);
      byte[0]! ^= 1;
      writeSync(file, byte, 0, 1, offset);
    } finally {
      closeSync(file);
    }
    return true;
  } catch {
    return false;
  }
}

function tear(path: string, where: number): boolean {
  try {
    truncateSync(path, Math.floor(where * statSync(path).size));
    return true;
  } catch {
    return false;
  }
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
