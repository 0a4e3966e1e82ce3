import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "yaml";
import type { Evaluation } from "../../../activities/evaluate/evaluation.js";
import { modelCard } from "../../../activities/report/card.js";
import { evalResults } from "../../../activities/report/eval-results.js";
import type { Story } from "../../../activities/report/story.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { compare, type Figure } from "../../../core/stages/figures.js";
import { reference } from "../../core/model/reference.js";

const COMMIT = "a".repeat(40);

function figure(
  metric: string,
  better: Figure["better"],
  values: readonly (readonly [base: number, tuned: number, live?: number])[],
): Figure {
  const items = values.map(([base, tuned, live]) => ({ weight: 1, base, tuned, ...(live !== undefined && { live }) }));
  return compare({ metric, better, kind: metric.startsWith("perplexity") ? "exp" : "mean", items });
}

const FIGURES: readonly Figure[] = [
  figure("perplexity", "lower", [
    [3, 2, 2.5],
    [4, 1, 2],
  ]),
  figure("perplexity.withInput", "lower", [[3, Infinity, 2]]),
  figure("rougeL", "higher", [[0.1, 0.25, 0.2]]),
  figure("gpqa.acc", "higher", [
    [0, 1],
    [1, 1],
    [0, 0],
  ]),
  figure("hellaswag.acc", "higher", [
    [0, 1],
    [1, 1],
  ]),
  figure("hellaswag.acc_norm", "higher", [
    [0, 0],
    [1, 1],
  ]),
];

const data = (source: string) => ({ items: 3, data: { source, sha256: "0" } });
const TASKS = {
  gpqa: data(`hf://Idavidrein/gpqa@${COMMIT}?config=gpqa_diamond&split=train`),
  hellaswag: data("hf://Rowan/hellaswag@main?split=validation"),
};

function story(evaluation: Partial<Evaluation> = {}, tasks: unknown = null): Story {
  return {
    title: "model-0123456789ab",
    config: parseRunConfig({ dataset: { source: `hf://tatsu-lab/alpaca@${COMMIT}` }, evaluate: { tasks } }),
    family: { type: "gptj", name: "GPT-J" },
    model: reference("gptj-tiny").model.shape,
    parameters: 1234,
    losses: [1],
    tokens: null,
    evaluation: {
      perplexity: { base: 3, tuned: 2 },
      gate: { judged: true, passed: true, ratio: 0.6, maxPerplexityRatio: 1 },
      heldOut: { rows: 20, labels: 430 },
      samples: [],
      ...evaluation,
    },
    prompt: null,
    prepared: null,
    descent: { licence: "cc-by-nc-4.0", baseModel: "EleutherAI/gpt-j-6b" },
    stateDigest: null,
    fingerprint: null,
    ledger: null,
    digests: {},
  };
}

interface Result {
  readonly task: { readonly type: string };
  readonly dataset: Readonly<Record<string, unknown>>;
  readonly metrics: readonly { readonly type: string; readonly name: string; readonly value: number }[];
}

function resultsOf(card: string): readonly Result[] {
  const [, matter] = /^---\n(.*?)\n---\n/s.exec(card)!;
  const { "model-index": index } = parse(matter!) as {
    "model-index"?: readonly [{ readonly name: string; readonly results: readonly Result[] }];
  };
  assert.equal(index?.[0].name ?? "model-0123456789ab", "model-0123456789ab");
  return index?.[0].results ?? [];
}

test("the model-index has the tuned model's figures by dataset, each with the split and the commit, and none that is not finite", () => {
  const [rows, gpqa, hellaswag, ...others] = resultsOf(modelCard(story({ figures: FIGURES, tasks: TASKS }, { limit: 3 })));
  assert.deepEqual(others, []);
  assert.deepEqual(rows, {
    task: { type: "text-generation", name: "answering instructions" },
    dataset: {
      type: "tatsu-lab/alpaca",
      name: "tatsu-lab/alpaca, 20 rows held out by Roslin (seed 42)",
      split: "held-out",
      revision: COMMIT,
    },
    metrics: [
      { type: "perplexity", name: "perplexity of the answers", value: 4.48169 },
      { type: "rouge", name: "ROUGE-L", value: 0.25 },
    ],
  });
  assert.deepEqual(gpqa, {
    task: { type: "text-generation", name: "gpqa" },
    dataset: { type: "Idavidrein/gpqa", name: "gpqa", config: "gpqa_diamond", split: "train", revision: COMMIT, args: { limit: 3 } },
    metrics: [{ type: "accuracy", name: "acc", value: 0.666667 }],
  });
  assert.deepEqual(hellaswag!.dataset, { type: "Rowan/hellaswag", name: "hellaswag", split: "validation", args: { limit: 3 } });
  assert.deepEqual(
    hellaswag!.metrics.map(({ name, value }) => [name, value]),
    [
      ["acc", 1],
      ["acc_norm", 0.5],
    ],
  );
  assert.deepEqual(resultsOf(modelCard(story())), []);
});

test("the hub's file of results is written for registered benchmarks whose items were all scored", () => {
  const files = evalResults(story({ figures: FIGURES, tasks: TASKS }));
  assert.deepEqual([...files.keys()], [".eval_results/gpqa.yaml"]);
  assert.deepEqual(parse(files.get(".eval_results/gpqa.yaml")!), [
    {
      dataset: { id: "Idavidrein/gpqa", task_id: "gpqa_diamond", revision: COMMIT },
      value: 66.67,
      notes: "zero-shot, the choice with the highest log-likelihood",
    },
  ]);
  assert.equal(evalResults(story({ figures: FIGURES, tasks: TASKS }, { limit: 3 })).size, 0);
  assert.equal(evalResults(story()).size, 0);
});

test("the card has answers of drawn tokens beside the likeliest ones, where there are any", () => {
  const sample = { kind: "own" as const, prompt: "p", base: "b", tuned: "t" };
  assert.doesNotMatch(modelCard(story({ samples: [sample] })), /drawn/);
  const card = modelCard(story({ samples: [{ ...sample, drawn: { base: "a draw", tuned: "another" } }] }));
  assert.match(card, /After:\n\n> t\n\nBefore, drawn:\n\n> a draw\n\nAfter, drawn:\n\n> another\n/);
});

test("the card has the name and the reason of an override, and they break no table", () => {
  const gate = { judged: true, passed: false, ratio: 1.2, maxPerplexityRatio: 1 };
  const override = { by: "Ada", reason: "worse here,\n| better | elsewhere" };
  const card = modelCard({ ...story({ gate }), override });
  assert.match(card, /^Gate: not passed, and overridden: .*1\.2000, at most 1; overridden by Ada: worse here, \| better \| elsewhere\.$/m);
  assert.match(card, /^\| gate \| not passed, and overridden: .*overridden by Ada: worse here, \\\| better \\\| elsewhere \|$/m);
});

test("the card shows every figure of each model with its interval, what is known of base and data, and the limits", () => {
  const card = modelCard(story({ figures: FIGURES, tasks: TASKS }));
  assert.match(card, /^\| figure \| better \| items \| base \| this model \| live \| this model \/ base \| this model \/ live \|$/m);
  assert.match(card, /^\| perplexity \| lower \| 2 \| 33\.1155 \([\d.]+ to [\d.]+\) \| 4\.4817 \(/m);
  assert.match(card, /^\| perplexity\.withInput \| lower \| 1 \| 20\.0855 \| not finite \|/m);
  assert.match(card, /^\| hellaswag\.acc \| higher \| 2 \| 0\.5000 \(.*\) \| 1\.0000 \(.*\) \| {2}\| 2\.0000 \(/m);
  assert.match(card, /95 % intervals by a bootstrap over the items/);
  assert.match(card, /^Gate: passed: perplexity ratio 0\.6000, at most 1\.$/m);
  assert.match(card, /^\| base model \| hf:.* \| GPT-J 6B, which EleutherAI trained in 2021 on the Pile,.* \| apache-2\.0 \|$/m);
  assert.match(
    card,
    /^\| data \| hf:\/\/tatsu-lab\/alpaca@a+ \| Stanford Alpaca .*text-davinci-003.*Self-Instruct.* \| cc-by-nc-4\.0 \|$/m,
  );
  assert.match(card, /OpenAI's terms of use/);
  assert.match(card, /Dolly was made in this way.*\n\n- requests/);
  const unknown = modelCard({
    ...story(),
    config: parseRunConfig({ model: { source: "file:///home/me/mine" }, dataset: { source: "file:///home/me/rows.json" } }),
    descent: { licence: "unknown", baseModel: null },
  });
  assert.match(unknown, /^\| base model \| mine \| Nothing is known to Roslin of where it comes from\. \| unknown \|$/m);
  assert.match(unknown, /^\| data \| rows\.json \| Nothing is known/m);
  assert.match(unknown, /Models of this kind share many weaknesses with Dolly/);
  assert.doesNotMatch(unknown, /home|\| undefined/);
});
