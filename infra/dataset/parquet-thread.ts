import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../../core/errors.js";
import { readPages } from "./parquet-pages.js";
import type { RowBatch } from "./row.js";

/** What the thread answers to every message: the next rows, that there are none, or what failed. */
export type ParquetAnswer =
  | { readonly kind: "rows"; readonly batch: RowBatch }
  | { readonly kind: "end" }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

const batches = readPages(workerData as string);

async function next(): Promise<ParquetAnswer> {
  try {
    const { value, done } = await batches.next();
    return done === true ? { kind: "end" } : { kind: "rows", batch: value };
  } catch (error) {
    return { kind: "failed", name: error instanceof Error ? error.name : "Error", message: messageOf(error) };
  }
}

parentPort!.on("message", () => void next().then((answer) => parentPort!.postMessage(answer)));
