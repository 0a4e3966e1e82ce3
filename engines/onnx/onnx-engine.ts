import { mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../core/errors.js";
import { ENGINE_VERSIONS } from "../../core/config/engines.js";
import { clearAttemptFiles } from "../../infra/process/attempt-files.js";
import type { ComputeEvent, TrainingEngine } from "../engine.js";
import type { ComputeInput, OnnxSetup } from "./compute.js";
import { Control } from "./control.js";
import { activationBytes, sharedBytes, trainingNeeds } from "./needs.js";
import { createShared } from "./shared-memory.js";

/** Training on onnxruntime's CPU kernels: each rank computes in a thread of its process, on weights in memory that all ranks map. */

/** Activations are kept where training then still leaves a good part of the free memory to others, and to what it allocates for a moment. */
const KEEP_WITHIN = 0.6;

/** The engine `onnx`. */
export const onnxEngine: TrainingEngine<OnnxSetup> = {
  name: "onnx",
  version: ENGINE_VERSIONS.onnx,

  libraries() {
    const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json") as { version: string };
    return Promise.resolve({ onnxruntime: version, threadsPerRank: 1 });
  },

  // it came with this package
  check: () => Promise.resolve(),

  needs: trainingNeeds,

  begin({ model, train, capacity, machine, directory, prefix, say }) {
    const bytes = sharedBytes(model, train.shards, capacity);
    const { offload } = train;
    const disk = offload.directory ?? directory;
    if (offload.directory !== null) {
      mkdirSync(offload.directory, { recursive: true });
      // of attempts that were killed before all ranks had their files open
      const [, run, generation] = /^(.*)g(\d+)$/.exec(prefix)!;
      clearAttemptFiles(offload.directory, run!, Number(generation));
    }
    const sharedIn = offload.parameters === "nvme" ? disk : machine.sharedDirectory(bytes, directory);
    // where there is no /dev/shm, as on macOS, a file is nothing to tell of
    if (offload.parameters !== "nvme" && sharedIn !== machine.sharedDirectory(0, directory))
      say("/dev/shm has too little room for the weights that workers share: they lie in a file, which may be slower");
    const { kept, head } = activationBytes(model, capacity);
    const most = trainingNeeds(model, train, capacity).memoryBytes + head + kept;
    return {
      capacity,
      keepActivations: most < KEEP_WITHIN * machine.availableMemory(),
      sharedPath: join(sharedIn, `${prefix}.weights`),
      sharedBytes: bytes,
      statesPath: offload.optimizer === "nvme" ? join(disk, `${prefix}.states`) : null,
    };
  },

  prepare: ({ sharedPath, sharedBytes }) => createShared(sharedPath, sharedBytes),

  unlink: ({ sharedPath }) => rmSync(sharedPath, { force: true }),

  start(rank, hear) {
    const control = new Control();
    const workerData: ComputeInput = { ...rank, control: control.words.buffer };
    const thread = new Worker(join(import.meta.dirname, "compute-thread.js"), { workerData });
    thread.on("message", (event: ComputeEvent) => hear(event));
    thread.on("error", (error: Error) => hear({ kind: "failed", name: error.name, message: messageOf(error) }));
    return {
      release: (barrier, directive) => control.release(barrier, directive),
      abort: () => control.abort(),
      moved: () => control.moved(),
      ended: new Promise((resolve) => thread.once("exit", (code) => resolve(`its compute thread ended with exit code ${code}`))),
    };
  },

  clear(machine, directory, prefix, before) {
    for (const place of new Set([machine.sharedDirectory(0, directory), directory])) clearAttemptFiles(place, prefix, before);
  },
};
