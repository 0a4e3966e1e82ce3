import { workerData } from "node:worker_threads";
import { tokenizer } from "../activities/preprocess/tokenize.js";
import { serve } from "../infra/process/thread.js";

/** Entry of a thread of preprocessing. */
const { make, agree } = tokenizer(workerData as string);
serve(make, agree);
