import { workerData } from "node:worker_threads";
import { serve } from "../process/thread.js";
import { readRecordBatches } from "./arrow-batches.js";

/** Entry of the thread that reads an Arrow file: answers each "next" with the next rows; null: there are no more. */

const { path, columns } = workerData as { readonly path: string; readonly columns: readonly string[] };
const batches = readRecordBatches(path, columns);

serve(async (_next: "next") => {
  const { value, done } = await batches.next();
  return done === true ? null : value;
});
