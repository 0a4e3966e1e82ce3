import type { Worker } from "node:worker_threads";
import type { RowBatch } from "../../infra/dataset/row.js";
import type { StageFiles } from "../common/stage.js";

/** What preprocessing is handed. */
export interface PreprocessDependencies {
  readonly files: StageFiles;
  /** infra's `readRows` */
  readRows(path: string, signal: AbortSignal): AsyncIterable<RowBatch>;
  /** Starts a thread that works as `tokenizeOrders` does, in the stage's directory. */
  startThread(directory: string): Worker;
  /** infra's */
  directoryDigest(files: readonly { readonly name: string; readonly sha256: string }[]): string;
  /** so many threads make tokens; what they make does not depend on it */
  readonly threads: number;
}
