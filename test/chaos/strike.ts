import { closeSync, openSync, readSync, statSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { startOf, type ChaosMachine } from "./machine.js";
import type { Fault, Target } from "./plan.js";
import type { View } from "./view.js";

/** Longer than the heartbeat timeout of ten seconds and the five for which a run waits for its workers: the next attempt has begun. */
const STOP_MS = 18_000;

/** Does what a fault says; false when there was nothing to strike. Resolves when it is over. */
export async function strike(fault: Fault, machine: ChaosMachine, view: View): Promise<boolean> {
  const { kind } = fault;
  if (kind === "flip") return flip(fault, machine, view);
  const pids = await targets(fault, machine);
  if (kind === "stop") return stopAndGoOn(pids);
  const signal = { kill: "SIGKILL", term: "SIGTERM", trouble: "SIGUSR2" } as const;
  return pids.map((pid) => send(pid, signal[kind])).includes(true);
}

async function targets({ target, where }: Fault, machine: ChaosMachine): Promise<number[]> {
  const gpus = await machine.pids((name) => name.startsWith("gpu-"));
  const first = Math.floor(where * gpus.length);
  const some: Partial<Record<Target, number[]>> = {
    "one GPU worker": gpus.slice(first, first + 1),
    "two GPU workers": [...gpus, ...gpus].slice(first, first + 2),
    "all GPU workers": gpus,
    "all workers": [...gpus, ...(await machine.pids((name) => name === "pipeline"))],
  };
  return some[target] ?? machine.pids((name) => name === target);
}

async function stopAndGoOn(pids: readonly number[]): Promise<boolean> {
  const starts = pids.map(startOf);
  const stopped = pids.map((pid) => send(pid, "SIGSTOP"));
  await sleep(STOP_MS);
  for (const [index, pid] of pids.entries()) if (startOf(pid) === starts[index]) send(pid, "SIGCONT");
  return stopped.includes(true);
}

/** Changes a bit of a file, and kills a worker, so that somebody reads it again. */
async function flip(fault: Fault, machine: ChaosMachine, view: View): Promise<boolean> {
  const files: Partial<Record<Target, string[]>> = {
    checkpoint: newest(view.files("train", "shards", /\.safetensors$/)),
    tokens: view.files("preprocess", "tokens", /\.safetensors$/),
    "partial download": view.parts(),
    model: view.models(),
    "tuned model": view.files("train", "model", /\.safetensors$/),
  };
  const choices = files[fault.target]!;
  const file = choices[Math.floor(fault.where * choices.length)];
  if (file === undefined || !flipBit(file, fault.where)) return false;
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
      const at = Math.floor(((where * 7919) % 1) * statSync(path).size);
      const byte = Buffer.alloc(1);
      readSync(file, byte, 0, 1, at);
      byte[0]! ^= 1;
      writeSync(file, byte, 0, 1, at);
    } finally {
      closeSync(file);
    }
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
