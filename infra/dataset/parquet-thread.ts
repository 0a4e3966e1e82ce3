import { workerData } from "node:worker_threads";
import { serve } from "../process/thread.js";
import { readPages } from "./parquet-pages.js";

/** Entry of the thread that reads a Parquet file: answers each "next" with the next rows; null: there are no more. */

const { path, columns } = workerData as { readonly path: string; readonly columns: readonly string[] };
const batches = readPages(path, columns);

serve(async (_next: "next") => {
  const { value, done } = await batches.next();
  return done === true ? null : value;
});
