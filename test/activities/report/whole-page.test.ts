import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { SCRIPT } from "../../../activities/report/page/browser.js";
import { settingsOf } from "../../../activities/report/page/settings.js";
import { reportPage } from "../../../activities/report/report-page.js";
import type { ReportStory } from "../../../activities/report/story.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import type { Figure } from "../../../core/stages/figures.js";
import type { Ledger } from "../../../core/stages/ledger.js";
import { parseMarkup } from "./parse-markup.js";

const HOSTILE = `</script><script>alert("1 & 2")</script><img src=http://evil.example/x onerror='x'>`;

const LEDGER: Ledger = {
  wallSeconds: 100,
  usefulSeconds: 80,
  startSeconds: 5,
  saveSeconds: 5,
  lostSeconds: 8,
  stoppedSeconds: 2,
  steps: 40,
  stepsRepeated: 3,
  failures: 1,
  interruptions: [
    { attempt: 1, failure: true, what: `worker 3 of 8 died ${HOSTILE}`, afterStep: 10, seconds: 8, stepsLost: 3 },
    { attempt: 2, failure: false, what: "told to stop", afterStep: 25, seconds: 2, stepsLost: 0 },
  ],
  proof: { repeated: 3, equal: 3, different: [], checkpoints: 0, checkpointsEqual: 0 },
};

function figure(metric: string, intervals: boolean): Figure {
  const more = { level: 0.95, resamples: 10_000, seed: 42 };
  return {
    metric,
    better: "lower",
    items: 12,
    base: 20,
    tuned: 10,
    ratio: { base: 0.5 },
    ...(intervals && { intervals: { base: [18, 22], tuned: [9, null], ratio: { base: [0.4, 0.6] }, ...more } }),
  };
}

/** A story in which every text tries to be markup. */
function story(steps: number, more: Partial<ReportStory> = {}): ReportStory {
  const losses = Array.from({ length: steps }, (_, step) => (step % 97 === 5 ? null : 3 + Math.sin(step) / (step + 1)));
  return {
    title: `model ${HOSTILE}`,
    config: parseRunConfig({
      evaluate: { prompts: [{ instruction: HOSTILE, input: null }] },
      publish: { target: "file:///home/someone/models" },
    }),
    family: null,
    model: null,
    parameters: null,
    losses,
    curves: { gradientNorms: losses, rates: losses.map((_, step) => 900 + (step % 7)), evaluations: [{ step: 1, loss: 3 }] },
    tokens: null,
    evaluation: {
      perplexity: { base: 20, tuned: 10 },
      gate: { judged: true, passed: true, ratio: 0.5, maxPerplexityRatio: 1 },
      heldOut: { rows: 12, labels: 100 },
      figures: [figure(`rougeL ${HOSTILE}`, true), figure("exactMatch", false)],
      samples: Array.from({ length: 5 }, (_, row) => ({
        row,
        prompt: HOSTILE,
        expected: HOSTILE,
        base: HOSTILE,
        tuned: HOSTILE.repeat(9),
      })),
    },
    prompt: null,
    prepared: { trainRows: 30, testRows: 12, cutAt: 512, lengths: { "64": 12, "128": 30 }, usedColumns: HOSTILE },
    descent: { licence: "unknown", baseModel: null },
    stateDigest: HOSTILE,
    fingerprint: { cpu: HOSTILE },
    ledger: LEDGER,
    digests: { dataset: HOSTILE },
    ...more,
  };
}

test("a page is well-formed, runs only its own script and loads nothing, whatever texts the run brings", () => {
  const page = reportPage(story(40));
  const elements = parseMarkup(page);
  assert.deepEqual(
    elements.filter(({ name }) => name === "script").map(({ text }) => text),
    [SCRIPT],
  );
  assert.ok(!elements.some(({ name }) => ["img", "link", "iframe", "object", "form", "base"].includes(name)));
  for (const { name, attributes } of elements)
    for (const key of attributes.keys()) assert.ok(!/^(on.*|src|href|srcset|style|xlink:href)$/.test(key), `${name} has ${key}`);
  const ids = elements.flatMap(({ attributes }) => attributes.get("id") ?? []);
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(!page.includes("<img") && !page.includes("<script>alert"));
});

test("the policy allows exactly the style and the script that stand in the page", () => {
  const page = reportPage(story(40));
  const [, policy] = /Content-Security-Policy" content="(.*?)"/.exec(page)!;
  const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const [, style] = /<style>(.*?)<\/style>/s.exec(page)!;
  assert.equal(
    policy,
    `default-src 'none'; style-src ${hashOf(style!)}; script-src ${hashOf(SCRIPT)}; base-uri 'none'; form-action 'none'`,
  );
});

test("the same story gives the same bytes", () => {
  assert.equal(reportPage(story(500)), reportPage(structuredClone(story(500))));
});

test("failures and stops are marked where they happened and where training went on", () => {
  const page = reportPage(story(40));
  const [, loss] = /id="loss"[^>]*>(<svg.*?)<\/figure>/s.exec(page)!;
  assert.deepEqual(
    [...loss!.matchAll(/class="sign (\w+)"[^>]*data-at="(\d+)"/g)].map(([, kind, step]) => `${kind} ${step}`),
    ["failure 13", "resume 10", "stop 25"],
  );
  // the band over the steps that were done again, and one line for each interruption
  assert.equal(loss!.match(/class="again"/g)!.length, 1);
  assert.equal(loss!.match(/class="resume /g)!.length, 2);
});

test("a run of 50,000 steps is a page of less than a megabyte", () => {
  const page = reportPage(story(50_000));
  assert.ok(page.length < 1e6, `${page.length} characters`);
});

test("a run without steps, with one step, without an evaluation and without figures has a page", () => {
  assert.match(reportPage(story(0, { ledger: null })), /No step is done yet/);
  const [, loss] = /id="loss"[^>]*>(<svg.*?)<\/figure>/s.exec(reportPage(story(1, { ledger: null })))!;
  assert.doesNotMatch(loss!, /NaN|undefined|Infinity/);
  const training = reportPage(story(40, { evaluation: null, descent: null, unfinished: "trains: 40 of 100 steps", totalSteps: 100 }));
  assert.match(training, /class="gate shut">trains: 40 of 100 steps</);
  assert.match(training, /Not evaluated yet/);
  parseMarkup(training);
  const { figures: _, ...earlier } = story(1).evaluation!;
  assert.ok(!reportPage(story(1, { evaluation: earlier })).includes("Figures of the models"));
});

test("figures without intervals and ends that are not finite are said to be so", () => {
  const page = reportPage(story(3));
  assert.match(page, /9\.000 to ∞/);
  assert.match(page, /better beyond chance/);
  const bare = story(3);
  const page2 = reportPage({ ...bare, evaluation: { ...bare.evaluation!, figures: [figure("exactMatch", false)] } });
  assert.match(page2, /too few items for intervals/);
  // nothing divided by nothing is neither better nor worse
  const nothing = { ...figure("exactMatch", true), better: "higher", base: 0, tuned: 0, ratio: { base: null } } as const;
  const none = { ...nothing, intervals: { ...nothing.intervals!, base: [0, 0], tuned: [0, 0], ratio: { base: [null, null] } } } as const;
  const page3 = reportPage({ ...bare, evaluation: { ...bare.evaluation!, figures: [none] } });
  assert.match(page3, /<td>–<\/td>/);
  assert.doesNotMatch(page3, /beyond chance/);
});

test("every setting is named with its value, defaults are marked, and no directory of the machine is published", () => {
  const settings = new Map(settingsOf(story(1).config).map((setting) => [setting.name, setting]));
  assert.deepEqual(settings.get("train.learningRate"), { name: "train.learningRate", value: "0.00001", isDefault: true });
  assert.deepEqual(settings.get("publish.target"), { name: "publish.target", value: '"a directory"', isDefault: false });
  assert.equal(settings.get("evaluate.prompts")!.isDefault, false);
  assert.ok(!reportPage(story(1)).includes("/home/someone"));
  for (const name of ["publish.sign", "publish.kmsKeyId", "publish.tags"]) assert.equal(settings.has(name), false, name);
});
