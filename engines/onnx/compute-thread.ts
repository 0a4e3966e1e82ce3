import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../../core/errors.js";
import type { ComputeEvent } from "../engine.js";
import { compute, type ComputeInput } from "./compute.js";
import { AbortedError } from "./control.js";
import { unmapShared } from "./shared-memory.js";

/** Entry of a rank's compute thread. */
const port = parentPort!;
const say = (event: ComputeEvent, transfer: ArrayBuffer[] = []): void => port.postMessage(event, transfer);
try {
  await compute(workerData as ComputeInput, say);
} catch (error) {
  // the main thread asked for it, and expects no word
  if (!(error instanceof AbortedError)) say({ kind: "failed", name: (error as Error).name, message: messageOf(error) });
} finally {
  unmapShared();
}
