import { workerData } from "node:worker_threads";
import { serve } from "../process/thread.js";
import { readPages } from "./parquet-pages.js";

/** Entry of the thread that reads a Parquet file: answers each "next" with the next rows; null: there are no more. */

const batches = readPages(workerData as string);

serve(async (_next: "next") => {
  const { value, done } = await batches.next();
  return done === true ? null : value;
});
