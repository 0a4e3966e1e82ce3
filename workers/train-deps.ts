import { rmSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { RankDeps, TrainDeps } from "../activities/train/index.js";
import { artifactOf, sha256File, writeFileAtomic } from "../infra/files.js";
import { joinGroup } from "../infra/group.js";
import { lock, processStart } from "../infra/lock.js";
import { availableMemory, fingerprint, freeDisk, sharedDirectory, socketDirectory } from "../infra/machine.js";
import { ModelFiles, SafetensorsFile } from "../infra/model-files.js";
import { clearShared, createShared } from "../infra/shared-memory.js";
import { writeSafetensors } from "../infra/safetensors-writer.js";
import { fileStore } from "../infra/store/files.js";
import { openTokens } from "../infra/tokens.js";

/** Training's dependencies on a real machine. */
export const trainDeps: TrainDeps = {
  files: { writeFileAtomic, lock, artifactOf },
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
  files: trainDeps.files,
  sha256File,
  joinGroup,
  createShared,
  removeFile: (path) => rmSync(path, { force: true }),
  startCompute: (input) => new Worker(join(import.meta.dirname, "compute-thread.js"), { workerData: input }),
  openStore: fileStore,
  writeSafetensors,
  modelConfig: (directory) => {
    const model = new ModelFiles(directory);
    model.close();
    return model.config;
  },
  fingerprint,
  processStart,
};
