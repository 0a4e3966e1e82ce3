// Roslin's side of harness.py.
//   node harness.mjs model DIR       writes the demo's model below DIR, and its directory to standard output
//   node harness.mjs score SPEC      SPEC is a JSON file of {model, work, data}, `data` by task: writes the log-likelihoods of each
//                                     task's choices and its report, as the stage evaluate leaves them
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const dist = new URL("../../dist/", import.meta.url);
const load = (path) => import(new URL(path, dist));
const [command, argument] = process.argv.slice(2);

if (command === "model") {
  const { makeDemoAssets, DEMO_SOURCES } = await load("demo/assets.js");
  await makeDemoAssets(argument);
  process.stdout.write(join(argument, "models", DEMO_SOURCES.model.replace(/^hf:\/\/|@main$/g, "")));
} else {
  const { evaluate } = await load("activities/evaluate/evaluate.js");
  const { parseRunConfig } = await load("core/config/schema.js");
  const { artifactOf } = await load("infra/disk/files.js");
  const { openInference } = await load("engines/onnx/inference/open-inference.js");
  const { model, work, data } = JSON.parse(readFileSync(argument, "utf8"));
  const tokens = join(work, "tokens");
  mkdirSync(tokens, { recursive: true });
  const inputs = [await artifactOf("model", model), await artifactOf("tuned", model), await artifactOf("tokens", tokens)];
  const sources = Object.fromEntries(Object.entries(data).map(([name, file]) => [name, pathToFileURL(file).href]));
  const config = parseRunConfig({ evaluate: { generateSamples: 0, tasks: { names: Object.keys(data), data: sources } } });
  const signal = new AbortController().signal;
  // both models are this one, so it scores once
  const opened = await openInference(model, signal);
  const known = new Map();
  const score = async (rows) => {
    const key = JSON.stringify(rows.map(({ inputIds, labels }) => [...inputIds, -1, ...labels]));
    if (!known.has(key)) known.set(key, await opened.score(rows));
    return known.get(key);
  };
  const dependencies = {
    openTokens: async () => ({ test: { count: 0 } }),
    openInference: async () => ({ score, generate: opened.generate, close: async () => undefined }),
    places: { findPublished: async () => null },
  };
  let said = 0;
  const progress = ({ done, total, note }) => {
    if (Date.now() - said < 10_000) return;
    said = Date.now();
    console.error(`roslin: ${done} of ${total}, ${note}`);
  };
  const started = performance.now();
  const { outputs } = await evaluate(dependencies, { config, inputs, root: join(work, "stages") }, { signal, progress });
  const seconds = (performance.now() - started) / 1000;
  await opened.close();
  const file = fileURLToPath(outputs[0].uri);
  const { tasks, figures } = JSON.parse(readFileSync(file, "utf8"));
  const lines = readFileSync(join(file, "..", "journal.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const of = (task) => lines.filter((line) => line.model === "base" && line.task === task).flatMap(({ value }) => value);
  const answers = Object.fromEntries(Object.keys(data).map((task) => [task, { logLikelihoods: of(task), report: tasks[task] }]));
  process.stdout.write(JSON.stringify({ seconds, figures, answers }));
}
