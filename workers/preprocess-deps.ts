import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { readRows } from "../infra/dataset/rows.js";
import type { PreprocessDependencies } from "../activities/preprocess/deps.js";

/** More threads than this wait for the one that reads. */
const MOST_THREADS = 8;

/** Preprocessing's dependencies on a real machine; `threads`: null for as many as there are cores. */
export function preprocessDeps(threads: number | null = null): PreprocessDependencies {
  return {
    readRows,
    startThread: (directory) => new Worker(new URL("tokenize-thread.js", import.meta.url), { workerData: directory }),
    threads: threads ?? Math.min(MOST_THREADS, availableParallelism()),
  };
}
