import type { ModelFiles, SafetensorsFile } from "../../infra/weights/model-files.js";
import type { TensorSpec } from "../../infra/weights/safetensors-writer.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { openTokens } from "../../infra/dataset/tokens.js";
import type { Fingerprint } from "./log/entries.js";

/** What beginning and finishing a training is handed. */
export interface TrainDeps {
  readonly openStore: (directory: string) => ObjectStore;
  readonly openModel: (directory: string) => ModelFiles;
  readonly openSafetensors: (path: string) => SafetensorsFile;
  readonly openTokens: typeof openTokens;
  readonly writeSafetensors: (
    path: string,
    tensors: readonly TensorSpec[],
    bytesOf: (name: string) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ) => Promise<{ sha256: string; bytes: number }>;
  readonly sha256File: (path: string, signal?: AbortSignal) => Promise<string>;
  readonly fingerprint: () => Fingerprint;
  /** infra's: when a process started; null when it is gone */
  readonly processStart: (pid: number) => string | null;
  readonly availableMemory: () => number;
  readonly freeDisk: (directory: string) => number;
  /** where shared memory of so many bytes goes; the directory given where the system's own is too small */
  readonly sharedDirectory: (bytes: number, otherwise: string) => string;
  readonly clearShared: (directory: string, prefix: string, before: number) => void;
  /** a directory with a short path, for sockets */
  readonly socketDirectory: string;
}
