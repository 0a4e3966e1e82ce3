import { parentPort, workerData } from "node:worker_threads";
import { mapShared, unmapShared } from "../../../engines/onnx/shared-memory.js";

/** A thread that maps a file in two segments, waits for a word, adds one to the first number of each, and gives the memory back. */
const { path, bytes } = workerData as { path: string; bytes: number };
const numbers = mapShared(path, [bytes, bytes]).map((segment) => new Int32Array(segment));
parentPort!.once("message", () => {
  const sums = numbers.map((segment) => ++segment[0]!);
  unmapShared();
  parentPort!.postMessage(sums);
});
parentPort!.postMessage("mapped");
