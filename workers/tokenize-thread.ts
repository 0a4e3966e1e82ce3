import { parentPort, workerData } from "node:worker_threads";
import { tokenizeOrders } from "../activities/preprocess/tokenize.js";
import { writeFileAtomic } from "../infra/disk/files.js";

/** Entry of a thread of preprocessing. */
tokenizeOrders({ writeFileAtomic }, workerData as string, parentPort!);
