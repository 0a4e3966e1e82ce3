// Publishes PyTorch's small model with figures of every kind, and prints the directory: node card.mjs TARGET.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const from = (path) => import(new URL(`../../dist/${path}`, import.meta.url).href);
const { publish } = await from("activities/publish/publish.js");
const { parseRunConfig } = await from("core/config/schema.js");
const { compare } = await from("core/stages/figures.js");
const { artifactOf } = await from("infra/disk/files.js");
const { finishedRun, publishDependencies } = await from("test/activities/publish/run.js");

const commit = "a".repeat(40);
const target = pathToFileURL(resolve(process.argv[2])).href;
const place = mkdtempSync(join(tmpdir(), "roslin-card-"));
const request = await finishedRun(place, target);

const figure = (metric, better, values) =>
  compare({
    metric,
    better,
    kind: metric.startsWith("perplexity") ? "exp" : "mean",
    items: values.map(([base, tuned]) => ({ weight: 1, base, tuned })),
  });
const data = (source) => ({ items: 2, data: { source, sha256: "0" } });
const path = join(place, "evaluation.json");
const evaluation = {
  ...JSON.parse(readFileSync(path, "utf8")),
  figures: [
    figure("perplexity", "lower", [
      [3, 2],
      [4, 1],
    ]),
    figure("loss", "lower", [
      [3, 2],
      [4, 1],
    ]),
    figure("perplexity.withInput", "lower", [[3, 2]]),
    figure("exactMatch", "higher", [[0, 1]]),
    figure("rougeL", "higher", [[0.2, 0.4]]),
    figure("gpqa.acc", "higher", [
      [0, 1],
      [1, 1],
    ]),
    figure("hellaswag.acc_norm", "higher", [
      [0, 1],
      [1, 0],
    ]),
  ],
  tasks: {
    gpqa: data(`hf://Idavidrein/gpqa@${commit}?config=gpqa_diamond&split=train`),
    hellaswag: data(`hf://Rowan/hellaswag@${commit}?split=validation`),
  },
};
writeFileSync(path, JSON.stringify(evaluation));
const report = await artifactOf("report", path);
const inputs = request.inputs.map((input) => (input.name === "report" ? report : input));
const config = parseRunConfig({
  ...request.config,
  model: { source: "hf://EleutherAI/gpt-j-6b@float16" },
  dataset: { source: `hf://tatsu-lab/alpaca@${commit}` },
});
const context = { signal: new AbortController().signal, progress: () => undefined };
const result = await publish(publishDependencies(), { ...request, config, inputs }, context);
console.log(fileURLToPath(result.outputs[0].uri));
