import type { TrainDeps } from "../activities/train/deps.js";
import type { Machine } from "../engines/engine.js";
import { deepSpeedEngine } from "../engines/deepspeed/deepspeed-engine.js";
import { needEnvironment } from "../engines/deepspeed/environment.js";
import { onnxEngine } from "../engines/onnx/onnx-engine.js";
import { CHECKOUT, readEnvironment } from "./environment.js";
import { ownDevice } from "../infra/gpu/choose-gpus.js";
import { availableMemory, freeDisk, sharedDirectory, socketDirectory } from "../infra/process/machine.js";
import { openSharedFiles } from "../infra/sources/shared-files.js";
import { s3SettingsOf } from "../infra/store/s3-store.js";
import { fileStore } from "../infra/store/file-store.js";

/** This machine, as training and its engines see it. */
const machine: Machine = { availableMemory, freeDisk, sharedDirectory, socketDirectory: socketDirectory() };

/** Training's places on a real machine. */
export const trainDeps: TrainDeps = {
  engines: {
    onnx: onnxEngine,
    deepspeed: deepSpeedEngine(() => needEnvironment(CHECKOUT, readEnvironment(process.env, CHECKOUT).home), {
      device: ownDevice(process.env)?.name ?? null,
    }),
  },
  machine,
  // asked for where a rank starts: a value of the environment that means nothing is the entry's to say
  get metricsCommand() {
    return readEnvironment(process.env, CHECKOUT).metricsCommand;
  },
  openStore: fileStore,
  openShared: (store, prefix, sharing) => openSharedFiles(store, prefix, s3SettingsOf(process.env), sharing),
};
