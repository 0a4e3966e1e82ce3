import { existsSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { ComputeEvent } from "../../engines/engine.js";
import type { ComputeInput } from "../../engines/onnx/compute.js";

/**
 * Preloaded into worker processes by NODE_OPTIONS: while the file exists that `SLOW_STEPS` names, a compute thread of the ONNX
 * engine rests after each step. So a few steps last as long as a test needs, on a fast machine and on a busy one.
 */

/** Milliseconds. */
const REST_MS = 250;

const file = process.env["SLOW_STEPS"];
const input = workerData as ComputeInput | null;
if (file !== undefined && parentPort !== null && input?.setup !== undefined) {
  const send = parentPort.postMessage.bind(parentPort);
  const resting = new Int32Array(new SharedArrayBuffer(4));
  parentPort.postMessage = (event: ComputeEvent, ...rest: never[]) => {
    if (event.kind === "arrive" && event.end !== undefined && existsSync(file)) Atomics.wait(resting, 0, 0, REST_MS);
    send(event, ...rest);
  };
}
