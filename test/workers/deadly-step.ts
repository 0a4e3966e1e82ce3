import fs, { existsSync, unlinkSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { ComputeInput, ComputeMessage } from "../../engines/onnx/compute.js";
import { hostedShards } from "../../core/training/slices.js";

/**
 * Preloaded into worker processes by NODE_OPTIONS: a compute thread that hosts shard DEADLY_SHARD sends its process
 * DEADLY_SIGNAL in the middle of step DEADLY_STEP, once for each of the files DEADLY_FILE.1, .2, … that it takes away.
 */

const { env } = process;
const [step, shard, file, signal] = [Number(env["DEADLY_STEP"]), Number(env["DEADLY_SHARD"]), env["DEADLY_FILE"], env["DEADLY_SIGNAL"]];

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
  const hosts = hostedShards(attempt.config.train.shards, attempt.workers, worker).includes(shard);
  const strike = (): void => {
    if (done === step && hosts && takeOne()) process.kill(process.pid, signal);
  };
  const send = parentPort.postMessage.bind(parentPort);
  let done = attempt.resumeStep;
  let barriers = 0;
  parentPort.postMessage = (message: ComputeMessage, ...rest: never[]) => {
    send(message, ...rest);
    if (message.kind !== "arrive") return;
    if (message.step !== undefined) done = message.step;
    // the first barrier comes before the first step; one with a step ends it
    if (++barriers > 1 && message.step === undefined && env["DEADLY_PLACE"] === "barrier") strike();
  };
  if (env["DEADLY_PLACE"] === "graph") {
    const { writeSync } = fs;
    // what the compute thread says of itself before a shard's graph
    fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
      const written = writeSync(...args);
      if (args[0] === input.whereabouts && args[1].trim() === `${shard}`) strike();
      return written;
    }) as typeof writeSync;
    syncBuiltinESMExports();
  }
}
