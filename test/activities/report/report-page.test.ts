import assert from "node:assert/strict";
import { test } from "node:test";
import type { JsonEnds } from "../../../core/stages/figures.js";
import type { Evaluation } from "../../../activities/evaluate/evaluation.js";
import { modelCard } from "../../../activities/report/card.js";
import { figureText } from "../../../activities/report/page/markup.js";
import { reportPage } from "../../../activities/report/report-page.js";
import { SCRIPT } from "../../../activities/report/page/browser.js";
import { facts, gateWords, type Story } from "../../../activities/report/story.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { reference } from "../../core/model/reference.js";

type Sample = Evaluation["samples"][number];

const EVALUATION: Evaluation = {
  perplexity: { base: 25430.54, tuned: 312.4 },
  gate: { judged: true, passed: true, ratio: 0.0123, maxPerplexityRatio: 1 },
  heldOut: { rows: 20, labels: 430 },
  samples: [],
};

function story(evaluation: Partial<Evaluation> = {}, losses: readonly (number | null)[] = [10.5, 0.69321]): Story {
  return {
    title: "model-0123456789ab",
    config: parseRunConfig({}),
    family: { type: "gptj", name: "GPT-J" },
    model: reference("gptj-tiny").model.shape,
    parameters: 1234,
    losses,
    tokens: null,
    evaluation: { ...EVALUATION, ...evaluation },
    prompt: null,
    prepared: null,
    descent: { licence: "unknown", baseModel: null },
    stateDigest: null,
    fingerprint: null,
    ledger: null,
    digests: {},
  };
}

/** A page's tiles: the figures as they are shown, and for how many characters they have room. */
function tilesOf(page: string): { readonly figures: readonly string[]; readonly room: number } {
  return {
    figures: [...page.matchAll(/<div class="figure"><b>(.*?)<\/b>/g)].map(([, figure]) => figure!),
    room: Number(/\.longest-\d+ \{ --longest: (\d+); \}/.exec(page)![1]),
  };
}

function pageWith(tuned: Sample["tuned"]): string {
  return reportPage(story({ samples: [{ row: 3, prompt: "…", expected: "blue", base: "", tuned }] }));
}

const isFolded = (page: string): boolean => page.includes('class="fold"');

test("figures are shown as people read them: decimals below a thousand, commas above, powers of ten when they are very large", () => {
  for (const [value, digits, expected] of [
    [0.69321, 3, "0.693"],
    [25.4305, 2, "25.43"],
    [999.994, 2, "999.99"],
    [999.996, 2, "1,000"],
    [25430.54, 2, "25,431"],
    [1e9, 2, "1,000,000,000"],
    [1.234e12, 2, "1.23e12"],
    [Number.MAX_VALUE, 2, "1.80e308"],
    [Infinity, 2, "infinite"],
    [0, 3, "0.000"],
    [null, 2, "–"],
    [undefined, 3, "–"],
  ] as const)
    assert.equal(figureText(value, digits), expected, String(value));
});

test("every tile has room for the longest figure", () => {
  for (const [evaluation, losses, expected] of [
    [{}, [10.5, 0.69321], ["25,431", "312.40", "10.500", "0.693", "2"]],
    [{ perplexity: { base: 1e9, tuned: null } }, [1e9], ["1,000,000,000", "infinite", "1,000,000,000", "1,000,000,000", "1"]],
    [{ perplexity: { base: null, tuned: null }, heldOut: { rows: 0, labels: 0 } }, [], ["–", "–", "–", "–", "0"]],
  ] as const) {
    const { figures, room } = tilesOf(reportPage(story(evaluation, losses)));
    assert.deepEqual(figures, expected);
    assert.equal(room, Math.max(...expected.map(({ length }) => length)));
  }
});

test("only an answer that may take more than eight lines can be folded", () => {
  for (const short of ["", "blue", "x".repeat(64), "1\n2\n3\n4\n5\n6\n7\n8", [1, 2, 3]]) assert.equal(isFolded(pageWith(short)), false);
  for (const long of ["word ".repeat(100), "x".repeat(65), "1\n2\n3\n4\n5\n6\n7\n8\n9", Array.from({ length: 128 }, (_, id) => id)]) {
    const page = pageWith(long);
    assert.equal(page.match(/class="fold"/g)!.length, 1);
    assert.equal(page.match(/<label><input type="checkbox"[^>]*><span class="more">Show all</g)!.length, 1);
  }
  // the whole text is in the page, and without the browser's help all of it is shown
  assert.ok(pageWith("word ".repeat(100)).includes(`<p>${"word ".repeat(100).trim()}</p>`));
});

test("nothing on the page is markup from the data, a script, or fetched from elsewhere", () => {
  const page = pageWith(`<script>alert("1 & 2")</script> `.repeat(10));
  assert.ok(isFolded(page));
  assert.ok(page.includes("&lt;script&gt;alert(&quot;1 &amp; 2&quot;)&lt;/script&gt;"));
  assert.deepEqual(page.match(/<script/g), ["<script"]);
  assert.ok(page.includes(`<script>${SCRIPT}</script>`));
  assert.doesNotMatch(page.replace(SCRIPT, ""), /<link|src=|url\(|@import| style=| on\w+=/);
});

test("reports of further tasks are among the facts of a run, under their names, and their verdicts in the gate's words", () => {
  const tasks = { "token-count": { base: 1200, tuned: 340 } };
  const gate = { ...EVALUATION.gate, passed: false, tasks: { "token-count": { judged: true, passed: false } } };
  const rows = new Map(facts(story({ tasks, gate })));
  assert.equal(rows.get("token-count"), '{"base":1200,"tuned":340}');
  assert.equal(rows.get("gate"), "not passed: perplexity ratio 0.0123, at most 1; token-count failed");
  assert.match(
    reportPage(story({ tasks, gate })),
    /<th scope="row">token-count<\/th><td>\{&quot;base&quot;:1200,&quot;tuned&quot;:340\}<\/td>/,
  );
});

test("the gate's words say what was compared, and whether anything was", () => {
  const { gate, heldOut } = EVALUATION;
  assert.equal(gateWords(EVALUATION), "passed: perplexity ratio 0.0123, at most 1");
  assert.equal(gateWords({ gate: { ...gate, passed: false, ratio: 1.5 }, heldOut }), "not passed: perplexity ratio 1.5000, at most 1");
  const unjudged = { ...gate, judged: false, ratio: null };
  assert.equal(gateWords({ gate: unjudged, heldOut: { rows: 0, labels: 0 } }), "not judged: there were no held-out rows");
  const byTask = { ...gate, ratio: null, tasks: { count: { judged: true, passed: true } } };
  assert.equal(gateWords({ gate: byTask, heldOut: { rows: 0, labels: 0 } }), "passed: count passed");
});

test("a perplexity above the largest number, which the file has as null, is said to be infinite", () => {
  const infinite = story({ perplexity: { base: 20, tuned: null }, gate: { ...EVALUATION.gate, passed: false, ratio: null } });
  const rows = new Map(facts(infinite));
  assert.equal(rows.get("perplexity of this model"), "infinite");
  assert.equal(rows.get("gate"), "not passed: perplexity ratio not finite, at most 1");
  const unmeasured = story({ perplexity: { base: null, tuned: null }, heldOut: { rows: 0, labels: 0 } });
  assert.equal(new Map(facts(unmeasured)).get("perplexity of this model"), "not measured");
});

test("an interval stands beside each perplexity and the ratio, with what it means", () => {
  const perplexityOf = (base: JsonEnds): Partial<Evaluation> => ({
    figures: [
      {
        metric: "perplexity",
        better: "lower",
        items: 12,
        base: 25430.54,
        tuned: 312.4,
        ratio: { base: 0.0123 },
        intervals: { level: 0.95, resamples: 10_000, seed: 42, base, tuned: [300, 330], ratio: { base: [0.011, 0.014] } },
      },
    ],
  });
  const measured = perplexityOf([24000, 27000]);
  const rows = new Map(facts(story(measured)));
  assert.equal(rows.get("perplexity of the base"), "25430.540 (95 % interval 24,000 to 27,000)");
  assert.equal(
    rows.get("perplexity of this model / of the base"),
    "0.0123 (95 % interval 0.01100 to 0.01400: better beyond chance), by a paired bootstrap of the held-out rows, 10,000 resamples",
  );
  assert.match(modelCard(story(measured)), /perplexity of this model \| 312\.400 \(95 % interval 300\.0 to 330\.0\)/);
  // JSON has no infinity
  assert.equal(new Map(facts(story(perplexityOf([24000, null])))).get("perplexity of the base"), "25430.540 (95 % interval 24,000 to ∞)");
});

test("a step without labels is a gap in the curve, and first and last loss are of steps that have one", () => {
  const gap = " A gap is a step whose rows have no label: it has no loss and updated nothing.";
  const page = reportPage(story({}, [null, 4, 3, null, 2, 1, null]));
  assert.deepEqual(tilesOf(page).figures.slice(2), ["4.000", "1.000", "7"]);
  const [, loss] = /<div class="plot" id="loss".*?data-series="(.*?)"/s.exec(page)!;
  assert.deepEqual(
    (JSON.parse(loss!.replaceAll("&quot;", '"')) as { y: unknown[] }[]).map(({ y }) => y.map((value) => value !== null)),
    [0, 1].map(() => [false, true, true, false, true, true, false]),
  );
  const [, svg] = /id="loss"[^>]*>(<svg.*?)<\/figure>/s.exec(page)!;
  const [, dots] = /<path class="dots soft" d="(.*?)"/.exec(svg!)!;
  assert.equal(dots!.split("M").length - 1, 4);
  const [, line] = /<path class="line strong" d="(.*?)"/.exec(svg!)!;
  assert.deepEqual(
    line!
      .split("M")
      .slice(1)
      .map((part) => part.split("L").length),
    [2, 2],
  );
  assert.match(page, /from 4\.000 to 1\.000/);
  assert.ok(page.includes(gap) && !reportPage(story()).includes(gap));
  assert.doesNotMatch(svg!, /NaN|undefined|null|Infinity/);
  assert.equal(new Map(facts(story({}, [null, 4, 1, null]))).get("first and last loss"), "4.0000, 1.0000");
});

test("a run in which no step has labels has no curve and no loss", () => {
  const page = reportPage(story({}, [null, null]));
  assert.deepEqual(tilesOf(page).figures.slice(2), ["–", "–", "2"]);
  assert.ok(!page.includes('id="loss"'));
  assert.equal(new Map(facts(story({}, [null, null]))).get("first and last loss"), "no step has labels");
  assert.equal(new Map(facts(story({}, []))).get("first and last loss"), "no step");
});

test("dropout that the base's config asks for is said not to have been applied", () => {
  const made = story();
  assert.equal(new Map(facts(made)).has("dropout"), false);
  const asked = { ...made, model: { ...made.model, dropout: { attn_pdrop: 0.1, resid_pdrop: 0.05 } } };
  assert.match(new Map(facts(asked)).get("dropout")!, /asks for dropout \(attn_pdrop 0\.1, resid_pdrop 0\.05\): training goes without it/);
});

test("rows trained on and held out, prompt and columns are facts, and a split that trains on fewer is a warning", () => {
  const prepared = { trainRows: 5, testRows: 1000, dropped: 2, withoutLoss: 1, rejected: 0, truncated: 0 };
  const columns = { usedColumns: "instruction, response", unusedColumns: "category" };
  const told = new Map(facts({ ...story(), prepared: { ...prepared, ...columns } }));
  assert.equal(told.get("rows"), "5 trained on, 1,000 held out, 2 dropped for an empty response, 1 left out because no token carries loss");
  assert.match(told.get("warning")!, /^WARNING: MORE ROWS ARE HELD OUT \(1,000\) THAN TRAINED ON \(5\)/);
  assert.deepEqual([told.get("columns"), told.get("columns not used"), told.get("prompt")], ["instruction, response", "category", "dolly"]);
  assert.equal(new Map(facts({ ...story(), prepared: { trainRows: 5, testRows: 5 } })).has("warning"), false);
  const page = reportPage({ ...story(), prepared });
  assert.ok(page.includes("5 trained on, 1,000 held out") && page.includes("MORE ROWS ARE HELD OUT"));
});

test("the card says how to ask the model, by its prompt", () => {
  const cardOf = (prompt: object | string, asking: Story["prompt"]): string =>
    modelCard({ ...story(), config: parseRunConfig({ preprocess: { prompt } }), prompt: asking });
  const dolly = cardOf("dolly", { request: "### Instruction:\nINSTRUCTION\n\n### Response:\n", stop: "### End" });
  assert.ok(dolly.includes('prompt = "### Instruction:\\nINSTRUCTION\\n\\n### Response:\\n"') && dolly.includes("ends before `### End`"));
  const chat = cardOf("chat", { request: "…", stop: "<|im_end|>" });
  assert.ok(
    chat.includes("tokenizer.apply_chat_template(messages, add_generation_prompt=True") && chat.includes("ends before `<|im_end|>`"),
  );
  const own = cardOf({ template: "{{ instruction }}: {{ output }}" }, { request: "INSTRUCTION: ", stop: "</s>" });
  assert.ok(own.includes("{{ instruction }}: {{ output }}") && own.includes('prompt = "INSTRUCTION: "'));
  assert.ok(cardOf("dolly", null).includes("has no tokenizer"));
});
