import assert from "node:assert/strict";
import { test } from "node:test";
import { keyParts } from "../../../activities/common/definition.js";
import type { Evaluation } from "../../../activities/evaluate/evaluation.js";
import { DEFINITIONS } from "../../../activities/forecast/definitions.js";
import { comparedModel, comparedStory, compareRuns, type ComparedRun } from "../../../activities/report/compare/compared.js";
import { comparePage } from "../../../activities/report/compare/compare-page.js";
import { compareText } from "../../../activities/report/compare/compare-text.js";
import type { ReportStory } from "../../../activities/report/story.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import type { ChainEntry, Manifest } from "../../../core/format/manifest.js";
import { parseMarkup } from "./parse-markup.js";

const NOTHING = { uri: "file:///nothing", sha256: "0".repeat(64), bytes: 0 };

const STORY: ReportStory = {
  title: "",
  config: parseRunConfig({}),
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
};

function run(name: string, config: object, more: Partial<ReportStory> = {}): ComparedRun {
  return comparedStory(name, { ...STORY, title: name, config: parseRunConfig(config), ...more });
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

test("sources that differ just by their directories differ, and show apart", () => {
  const at = (place: string): ComparedRun => run(place, { dataset: { source: `file:///data/${place}/rows.json` } });
  const [{ setting, values } = { setting: "", values: [] }, ...more] = compareRuns([at("v1"), at("v2")]).settings;
  assert.deepEqual([setting, more], ["dataset.source", []]);
  assert.equal(new Set(values).size, 2);
  for (const value of values) assert.match(value!, /^"…\/rows\.json" \(its path's digest: [0-9a-f]{8}…\)$/);
  assert.deepEqual(compareRuns([at("v1"), at("v1")]).settings, []);
  const anywhere = (target: string): ComparedRun => run("run", { publish: { target } });
  assert.deepEqual(compareRuns([anywhere("file:///a/models"), anywhere("file:///b/models")]).settings, []);
});

test("a run and what it published have the same settings, whatever its key leaves out", () => {
  const config = parseRunConfig({
    model: { source: "file:///models/base" },
    dataset: { source: "file:///data/rows.parquet", split: "train" },
    train: { method: "lora" },
    evaluate: { tasks: { names: ["piqa"], data: { piqa: "file:///data/piqa.jsonl" } } },
  });
  const input = { config, inputs: (["model", "dataset", "tokens", "tuned", "report"] as const).map((name) => ({ name, ...NOTHING })) };
  const chain = Object.values(DEFINITIONS).map((definition): ChainEntry => {
    const { settings, ...parts } = keyParts(definition, input);
    return { ...parts, stage: definition.name, settings: JSON.parse(JSON.stringify(settings)), key: "", outputs: [] };
  });
  const manifest = { name: "published", chain } as Partial<Manifest> as Manifest;
  const published = comparedModel(manifest, { figures: [] } as Partial<Evaluation> as Evaluation);
  assert.deepEqual(compareRuns([run("run", config), published]).settings, []);
  const halved = comparedStory("halved", { ...STORY, config: { ...config, train: { ...config.train, precision: "bf16" } } });
  assert.deepEqual(compareRuns([halved, published]).settings, [{ setting: "train.precision", values: ['"bf16"', '"fp32"'] }]);
});

test("scores of other rows are said to be that", () => {
  const of = (tokens: string): ComparedRun => run("run", {}, { digests: { tokens } });
  const { notes, ...others } = compareRuns([of("a"), of("b")]);
  assert.match(notes.join(""), /not comparable/);
  assert.ok(compareText({ notes, ...others }).includes(notes[0]!));
  assert.ok(comparePage([of("a"), of("b")]).includes("not comparable"));
  assert.deepEqual(compareRuns([of("a"), of("a"), run("early", {}, { evaluation: null })]).notes, []);
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
