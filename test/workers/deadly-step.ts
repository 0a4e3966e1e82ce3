import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { hostedShards } from "../../core/training/slices.js";
import type { ComputeEvent } from "../../engines/engine.js";
import type { ComputeInput } from "../../engines/onnx/compute.js";
import { readDeadly, strike } from "./deadly.js";

/** Preloaded into worker processes by NODE_OPTIONS: strikes a compute thread of the ONNX engine as `DEADLY` says. */

const deadly = readDeadly();
const input = workerData as ComputeInput | null;
if (parentPort !== null && input?.setup !== undefined && deadly !== null) {
  const { train, workers, worker, resumeStep, whereabouts } = input;
  const hosts = hostedShards(train.shards, workers, worker).includes(deadly.shard);
  const strikeInStep = (): void => {
    if (stepsDone === deadly.step && hosts) strike(deadly);
  };
  const send = parentPort.postMessage.bind(parentPort);
  let stepsDone = resumeStep;
  let barriers = 0;
  parentPort.postMessage = (event: ComputeEvent, ...rest: never[]) => {
    send(event, ...rest);
    if (event.kind !== "arrive") return;
    if (event.end !== undefined) stepsDone = event.end.stepsDone;
    // the first barrier comes before the first step; one with an end ends it
    if (++barriers > 1 && event.end === undefined && deadly.place === "barrier") strikeInStep();
  };
  if (deadly.place === "graph") {
    const { writeSync } = fs;
    // what the compute thread says of itself before a shard's graph
    fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
      const written = writeSync(...args);
      if (args[0] === whereabouts && args[1].trim() === `${deadly.shard}`) strikeInStep();
      return written;
    }) as typeof writeSync;
    syncBuiltinESMExports();
  }
}
