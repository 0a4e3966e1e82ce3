import { existsSync, unlinkSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { ComputeInput, ComputeMessage } from "../../activities/train/compute/run.js";
import { hostedShards } from "../../core/parallel/slices.js";

/**
 * Preloaded into worker processes by NODE_OPTIONS: a compute thread that hosts shard DEADLY_SHARD kills or stops its process
 * by DEADLY_SIGNAL in the middle of step DEADLY_STEP, once for each of the files DEADLY_FILE.1, .2, … that it takes away.
 */

const { env } = process;
const [step, shard, file, signal] = [Number(env["DEADLY_STEP"]), Number(env["DEADLY_SHARD"]), env["DEADLY_FILE"]!, env["DEADLY_SIGNAL"]];

/** Takes the next of the files; false: it was deadly often enough. */
function takeOne(): boolean {
  const next = [1, 2, 3, 4, 5, 6].map((number) => `${file}.${number}`).find((path) => existsSync(path));
  if (next === undefined) return false;
  unlinkSync(next);
  return true;
}

const input = workerData as ComputeInput | null;
if (parentPort !== null && input?.attempt !== undefined && file !== undefined) {
  const { attempt, worker } = input;
  const send = parentPort.postMessage.bind(parentPort);
  let done = attempt.resumeStep;
  let barriers = 0;
  parentPort.postMessage = (message: ComputeMessage, ...rest: never[]) => {
    send(message, ...rest);
    if (message.kind !== "arrive") return;
    if (message.step !== undefined) done = message.step;
    // the first barrier comes before the first step; one with a step ends it
    const inStep = ++barriers > 1 && message.step === undefined;
    if (!inStep || done !== step || !hostedShards(attempt.config.train.shards, attempt.workers, worker).includes(shard)) return;
    if (takeOne()) process.kill(process.pid, signal);
  };
}
