import assert from "node:assert/strict";
import { test } from "node:test";
import { comparedStory, compareRuns, type ComparedRun } from "../../../activities/report/compare/compared.js";
import { comparePage } from "../../../activities/report/compare/compare-page.js";
import { compareText } from "../../../activities/report/compare/compare-text.js";
import type { ReportStory } from "../../../activities/report/story.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { parseMarkup } from "./parse-markup.js";

function run(name: string, config: object, more: Partial<ReportStory> = {}): ComparedRun {
  const story: ReportStory = {
    title: name,
    config: parseRunConfig(config),
    family: null,
    model: null,
    parameters: null,
    losses: [3, 2, null, 1],
    curves: { evaluations: [{ step: 2, loss: 2.5 }] },
    tokens: null,
    evaluation: {
      perplexity: { base: 20, tuned: 10 },
      gate: { judged: true, passed: true, ratio: 0.5, maxPerplexityRatio: 1 },
      heldOut: { rows: 12, labels: 100 },
      figures: [
        {
          metric: "perplexity",
          better: "lower",
          items: 12,
          base: 20,
          tuned: 10,
          ratio: { base: 0.5 },
          intervals: { base: [18, 22], tuned: [9, 11], ratio: { base: [0.4, 0.6] }, level: 0.95, resamples: 10, seed: 1 },
        },
      ],
      samples: [],
    },
    prompt: null,
    prepared: null,
    descent: null,
    stateDigest: null,
    fingerprint: null,
    ledger: null,
    digests: {},
    ...more,
  };
  return comparedStory(name, story);
}

const first = run("first", { train: { learningRate: 1e-5 } });
const second = run("<b>second</b>", { train: { learningRate: 2e-5, seed: 7 } }, { evaluation: null, unfinished: "Under way in train" });

test("only settings that differ are named, side by side, and a score that a run lacks is null", () => {
  const { settings, scores, runs } = compareRuns([first, second]);
  assert.deepEqual(settings, [
    { setting: "train.learningRate", values: ["0.00001", "0.00002"] },
    { setting: "train.seed", values: ["42", "7"] },
  ]);
  assert.deepEqual(scores, [{ metric: "perplexity", better: "lower", values: [{ tuned: 10, items: 12, interval: [9, 11] }, null] }]);
  assert.deepEqual(runs, [{ name: "first" }, { name: "<b>second</b>", unfinished: "Under way in train" }]);
  assert.deepEqual(compareRuns([first, first]).settings, []);
});

test("a terminal gets two tables, and is told how an unfinished run stands", () => {
  const text = compareText(compareRuns([first, second]));
  assert.match(text, /^<b>second<\/b>: Under way in train\n/);
  assert.match(text, /perplexity \(lower is better\) +10\.00 \(9\.000 to 11\.00\) +–/);
  assert.match(text, /train\.learningRate +0\.00001 +0\.00002/);
  assert.match(compareText(compareRuns([second, second])), /no run has been evaluated[\s\S]*none/);
});

test("the page has both curves in one picture, and nothing in it is markup from the runs", () => {
  const page = comparePage([first, second]);
  const elements = parseMarkup(page);
  assert.ok(!elements.some(({ name, text }) => name === "b" && text === "second"));
  const plot = elements.find(({ attributes }) => attributes.get("id") === "loss")!;
  const series = JSON.parse(
    plot.attributes.get("data-series")!.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">"),
  ) as {
    name: string;
  }[];
  assert.deepEqual(
    series.map(({ name }) => name),
    ["first", "<b>second</b>"],
  );
  assert.equal(comparePage([first, second]), page);
  const published: ComparedRun = { ...first, losses: [], evaluations: [] };
  parseMarkup(comparePage([published, published]));
});
