import { rmSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { sha256File } from "../infra/disk/files.js";
import { joinGroup } from "../infra/process/group.js";
import { processStart } from "../infra/process/process-start.js";
import { availableMemory, fingerprint, freeDisk, sharedDirectory, socketDirectory } from "../infra/process/machine.js";
import { readModelConfig } from "../infra/weights/read-model-config.js";
import { ModelFiles, SafetensorsFile } from "../infra/weights/model-files.js";
import { clearShared, createShared } from "../engines/onnx/shared-memory.js";
import { writeSafetensors } from "../infra/weights/safetensors-writer.js";
import { fileStore } from "../infra/store/file-store.js";
import { openTokens } from "../infra/dataset/tokens.js";
import type { RankDeps } from "../activities/train/rank/rank.js";
import type { TrainDeps } from "../activities/train/deps.js";

/** Training's dependencies on a real machine. */
export const trainDeps: TrainDeps = {
  openStore: fileStore,
  openModel: (directory) => new ModelFiles(directory),
  openSafetensors: (path) => new SafetensorsFile(path),
  openTokens,
  writeSafetensors,
  sha256File,
  fingerprint,
  processStart,
  availableMemory,
  freeDisk,
  sharedDirectory,
  clearShared,
  socketDirectory: socketDirectory(),
};

/** A training worker's dependencies on a real machine. */
export const rankDeps: RankDeps = {
  sha256File,
  joinGroup,
  createShared,
  removeFile: (path) => rmSync(path, { force: true }),
  startCompute: (input) => new Worker(join(import.meta.dirname, "../engines/onnx/compute-thread.js"), { workerData: input }),
  openStore: fileStore,
  writeSafetensors,
  modelConfig: readModelConfig,
  fingerprint,
  processStart,
};
