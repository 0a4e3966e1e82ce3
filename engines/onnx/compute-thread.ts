import { parentPort, workerData } from "node:worker_threads";
import { compute, type ComputeInput, type ComputeMessage } from "./compute.js";
import { messageOf } from "../../core/errors.js";
import { ModelFiles, SafetensorsFile } from "../../infra/weights/model-files.js";
import { createSession } from "./session/session.js";
import { mapShared, unmapShared } from "./shared-memory.js";
import { openTokens } from "../../infra/dataset/tokens.js";

/** Entry of a worker's compute thread. */
const port = parentPort!;
const deps = {
  createSession,
  openTokens,
  openModel: (directory: string) => new ModelFiles(directory),
  openSafetensors: (path: string) => new SafetensorsFile(path),
  mapShared,
};
try {
  await compute(deps, workerData as ComputeInput, port);
} catch (error) {
  port.postMessage({ kind: "failed", name: (error as Error).name, message: messageOf(error) } satisfies ComputeMessage);
} finally {
  unmapShared();
}
