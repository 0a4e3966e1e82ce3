import type { Worker } from "node:worker_threads";
import type { RowBatch } from "../../infra/dataset/row.js";

/** What preprocessing is handed. */
export interface PreprocessDependencies {
  /** infra's `readRows` */
  readRows(path: string, signal: AbortSignal, columns: readonly string[]): AsyncIterable<RowBatch>;
  /** Starts a thread that works as `tokenizeOrders` does, in the stage's directory. */
  startThread(directory: string): Worker;
  /** so many threads make tokens; what they make does not depend on it */
  readonly threads: number;
}
