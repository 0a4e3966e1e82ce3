import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { demoSummary } from "../../../cli/show/demo-summary.js";
import type { FinetuneResult, StageRow } from "../../../workflows/contract.js";

const root = mkdtempSync(join(tmpdir(), "roslin-summary-"));
after(() => rmSync(root, { recursive: true }));

const SAMPLES = ["one", "two", "three"].map((word, row) => ({
  ...{ row, prompt: "…", instruction: `Say ${word}.`, expected: word, base: `${word}?`, tuned: `${word}!` },
}));
const INTERVALS = { level: 0.95, resamples: 10_000, seed: 42, base: [4.9, 5.4], tuned: [4.2, 4.6], ratio: { base: [0.84, 0.88] } };
const FIGURES = [
  { metric: "perplexity", better: "lower", items: 60, base: 5.16, tuned: 4.43, ratio: { base: 0.8585 }, intervals: INTERVALS },
];
const PUBLISHED = {
  target: "s3://roslin/models",
  objects: [{ key: "model-1/report.html", bytes: 2000 }],
  report: "file:///home/report.html",
};

function resultWith(evaluation: object, state: StageRow["state"] = "done"): FinetuneResult {
  const path = join(root, "evaluation.json");
  const heldOut = { rows: 60, labels: 9000 };
  writeFileSync(path, JSON.stringify({ perplexity: { base: 5.16, tuned: 4.43 }, heldOut, samples: SAMPLES, ...evaluation }));
  const report = { name: "report", uri: pathToFileURL(path).href, sha256: "", bytes: 1 };
  const common = { reused: false, metrics: { seconds: 1 } };
  return {
    stages: [
      { stage: "train", ...common, outputs: [], metrics: { seconds: 1, losses: [2, 1], steps: 2 } },
      { stage: "evaluate", ...common, outputs: [report] },
      { stage: "publish", ...common, outputs: [], metrics: { seconds: 1, latest: true } },
    ],
    rows: [{ stage: "train", state, seconds: 3, note: "" }],
    trainingAttempts: 1,
  };
}

test("a summary shows before and after with what the difference is worth, as many answers as asked for, and the report's address", () => {
  const text = demoSummary(resultWith({ figures: FIGURES }), 60, PUBLISHED, 2);
  assert.match(text, /^Perplexity {2}5\.160 before, 4\.430 after, on 60 rows that it was not trained on$/m);
  assert.match(text, /^ +after \/ before 0\.8585, 95 % interval 0\.8400 to 0\.8800: better beyond chance$/m);
  assert.match(text, /Say one\.[^]*before +one\?[^]*after +one![^]*expected +one[^]*Say two\./);
  assert.doesNotMatch(text, /Say three/);
  assert.match(text, /^Report {6}file:\/\/\/home\/report\.html$/m);
  assert.match(text, /^ {2}train .* s$/m);
});

test("a stage that was found done says so, and what is missing is left out", () => {
  const text = demoSummary(resultWith({}, "reused"), 60, { ...PUBLISHED, report: null }, 5);
  assert.match(text, /^ {2}train .*\(found done\)$/m);
  assert.match(text, /Say three/);
  assert.doesNotMatch(text, /after \/ before|Report {6}/);
  const unjudged = resultWith({ perplexity: { base: null, tuned: null }, heldOut: { rows: 0, labels: 0 } });
  assert.match(demoSummary(unjudged, 60, PUBLISHED, 5), /^Perplexity {2}not judged/m);
});

test("a model that latest.json does not name is said so, with the reason", () => {
  const result = resultWith({});
  const [trained, evaluated] = result.stages;
  const published = {
    stage: "publish",
    reused: false,
    outputs: [],
    metrics: { seconds: 1, latest: false, reason: "the gate was not passed" },
  } as const;
  const text = demoSummary({ ...result, stages: [trained!, evaluated!, published] }, 60, PUBLISHED, 0);
  assert.match(text, /^Published to s3:\/\/roslin\/models; latest\.json STAYS, because the gate was not passed$/m);
});
