import { join } from "node:path";
import { preprocess } from "../activities/preprocess/preprocess.js";
import { parseRunConfig } from "../core/config/schema.js";
import { artifactOf } from "../infra/disk/files.js";
import { preprocessDeps } from "../workers/preprocess-deps.js";

/** `node preprocess-child.js DIRECTORY OUTPUT THREADS`: runs the preprocess stage in a process of its own and prints a line of figures. */

const [directory, root, threads] = process.argv.slice(2) as [string, string, string];
const inputs = [await artifactOf("model", join(directory, "model")), await artifactOf("dataset", join(directory, "rows.jsonl"))];
const request = { config: parseRunConfig({ preprocess: { testRows: 0 } }), inputs, root };
const started = performance.now();
const { tokens, lossShare } = (
  await preprocess(preprocessDeps(Number(threads)), request, {
    signal: new AbortController().signal,
    progress: () => undefined,
  })
).metrics;
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ seconds, tokens, labels: Math.round(lossShare! * tokens!) }));
