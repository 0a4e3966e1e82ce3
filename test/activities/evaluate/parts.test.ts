import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openJournal } from "../../../activities/evaluate/journal.js";
import { judge, planBatches } from "../../../activities/evaluate/perplexity.js";
import { answerPrompts } from "../../../activities/evaluate/answer-prompts.js";
import { describeSample, planQuestions } from "../../../activities/evaluate/samples.js";
import { openPrompt } from "../../../core/text/open-prompt.js";
import { promptOf } from "../../../core/text/prompt.js";
import { compileTemplate } from "../../../infra/text/jinja.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import type { Decoder, Tokenizer } from "../../../core/text/tokenizer.js";
import type { InferenceModel } from "../../../engines/inference.js";
import type { TokenSplit } from "../../../core/rows/token-rows.js";

const split = (...lengths: number[]): TokenSplit => ({
  count: lengths.length,
  row: (source) => ({
    source,
    inputIds: new Int32Array(lengths[source]!).map((_, at) => at),
    labels: new Int32Array(lengths[source]!).map((_, at) => (at < 2 ? -100 : at)),
  }),
});

const dolly = openPrompt("dolly", { bosToken: "", eosToken: "", endToken: "", chatTemplate: null, added: [] }, compileTemplate);

/** One character a token. */
const letters: Decoder & { encode(text: string): number[] } = {
  encode: (text) => [...text].map((letter) => letter.codePointAt(0)!),
  decode: (ids) => String.fromCodePoint(...Array.from(ids)),
  stream: () => (id) => (id === undefined ? "" : String.fromCodePoint(id)),
};

const { evaluate: settings } = parseRunConfig({});

/** What is taken of a model that says this. */
async function taken(text: string, tokenizer: typeof letters | null, prompt: typeof dolly | null): Promise<number[]> {
  const generate: InferenceModel["generate"] = async function* (_, { maxNewTokens, isLast } = {}) {
    for (const [count, token] of letters.encode(text).entries()) {
      if (count === maxNewTokens) return;
      yield await Promise.resolve({ sequence: 0, token });
      if (isLast!({ sequence: 0, token })) return;
    }
  };
  const [answer] = await answerPrompts(
    { generate },
    [{ prompt: [1], stream: 0 }],
    { tokenizer: tokenizer as Tokenizer | null, prompt, settings },
    {},
  );
  return answer!;
}

test("batches are neighbours, few enough rows and tokens, and a long row goes alone", () => {
  assert.deepEqual(planBatches(split(1000, 1000, 1000, 3000, 10)), [
    { start: 0, end: 2 },
    { start: 2, end: 3 },
    { start: 3, end: 4 },
    { start: 4, end: 5 },
  ]);
  assert.deepEqual(planBatches(split(...Array<number>(20).fill(3))), [
    { start: 0, end: 16 },
    { start: 16, end: 20 },
  ]);
  assert.deepEqual(planBatches(split()), []);
});

test("samples are spread over the split, and rows without a response are passed over", () => {
  assert.deepEqual(
    planQuestions(split(5, 5, 5, 5), 2).map(({ row }) => row),
    [0, 2],
  );
  assert.deepEqual(planQuestions(split(2, 4), 5), [{ row: 1, prompt: [0, 1], expected: [2, 3] }]);
});

test("the gate compares, and stands open where nothing can be compared", () => {
  assert.equal(judge({ base: 10, tuned: 9 }, 1).passed, true);
  assert.equal(judge({ base: 10, tuned: 11 }, 1).passed, false);
  assert.deepEqual(judge({ base: null, tuned: null }, 1), { judged: false, passed: true, ratio: null, maxPerplexityRatio: 1 });
});

test("a response ends with the end key, or after 128 tokens", async () => {
  assert.equal(letters.decode(await taken("blue\n\n### End and more", letters, dolly)), "blue\n\n### End");
  assert.equal((await taken("x".repeat(500), letters, dolly)).length, 128);
  assert.equal((await taken("### End".repeat(20), null, null)).length, 128);
});

test("a sample shows the request without its template, and answers without the end key", () => {
  const ask = (input?: string) =>
    describeSample(
      { row: 7, prompt: letters.encode(promptOf({ instruction: "Name a colour.", input })), expected: letters.encode("blue\n\n### End") },
      letters.encode("red"),
      letters.encode("green\n\n### End"),
      letters,
      dolly,
    );
  const { prompt, ...plain } = ask();
  assert.equal(prompt, promptOf({ instruction: "Name a colour." }));
  assert.deepEqual(plain, { row: 7, instruction: "Name a colour.", expected: "blue", base: "red", tuned: "green" });
  const { instruction, input } = ask("of the sky");
  assert.deepEqual({ instruction, input }, { instruction: "Name a colour.", input: "of the sky" });
});

test("a token that prompt and answer share is cut where the answer begins", () => {
  const alpaca = openPrompt("alpaca", { bosToken: "", eosToken: "", endToken: "", chatTemplate: null, added: [] }, compileTemplate);
  const whole = alpaca.ask({ system: "", turns: [{ instruction: "Quote.", input: "", output: "", scored: true }] });
  assert.ok(whole.endsWith("### Response:"));
  // the tokenizer joins the colon with a quotation mark, so the row's label begins with it; an answer need not
  const pieces = [whole.slice(0, -1), ':"', 'to be"', ":", " or not", "nothing"];
  const words: Decoder = { decode: (ids) => Array.from(ids, (id) => pieces[id]).join(""), stream: () => () => "" };
  const { prompt, ...sample } = describeSample({ row: 1, prompt: [0], expected: [1, 2] }, [3, 4], [5], words, alpaca);
  assert.equal(prompt, pieces[0]);
  assert.deepEqual(sample, { row: 1, instruction: "Quote.", expected: '"to be"', base: "or not", tuned: "nothing" });
});

test("a journal's line that a kill cut short doesn't count, and harms no later one", async () => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-journal-"));
  const path = join(directory, "journal.jsonl");
  const first = { model: "base", task: "perplexity", item: 0, value: { nll: 1.5, labels: 3 } } as const;
  await (await openJournal(path)).add(first);
  appendFileSync(path, '{"model":"base","ta');
  const second = { model: "tuned", task: "samples", item: 0, value: [1, 2] } as const;
  const journal = await openJournal(path);
  assert.deepEqual(journal.lines, [first]);
  await journal.add(second);
  assert.deepEqual((await openJournal(path)).lines, [first, second]);
  rmSync(directory, { recursive: true });
});
