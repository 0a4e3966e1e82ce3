import { parentPort, workerData } from "node:worker_threads";
import { tokenizeOrders } from "../activities/preprocess/tokenize.js";

/** Entry of a thread of preprocessing. */
tokenizeOrders(workerData as string, parentPort!);
