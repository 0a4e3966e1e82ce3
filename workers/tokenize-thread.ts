import { workerData } from "node:worker_threads";
import { tokenizer } from "../activities/preprocess/tokenize.js";
import { writeFileAtomic } from "../infra/disk/files.js";
import { serve } from "../infra/process/thread.js";

/** Entry of a thread of preprocessing. */
const { make, agree } = tokenizer({ writeFileAtomic }, workerData as string);
serve(make, agree);
