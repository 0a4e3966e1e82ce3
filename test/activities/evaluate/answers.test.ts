import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { answers } from "../../../activities/evaluate/answers.js";
import { evaluate } from "../../../activities/evaluate/evaluate.js";
import { figureNamed, type Evaluation } from "../../../activities/evaluate/evaluation.js";
import { DOLLY_INSTRUCTIONS, samples } from "../../../activities/evaluate/samples.js";
import { perplexity } from "../../../activities/evaluate/perplexity.js";
import type { TaskInput } from "../../../activities/evaluate/task.js";
import { UserError } from "../../../core/errors.js";
import { outputNamed } from "../../../core/stages/results.js";
import { rougeL } from "../../../core/text/rouge.js";
import { madeDependencies, madeRequest, madeRows } from "./made-models.js";

const root = mkdtempSync(join(tmpdir(), "roslin-answers-"));
after(() => rmSync(root, { recursive: true }));
let runs = 0;

/** The evaluation of two made models on `count` rows. */
async function evaluated(count: number, settings: object): Promise<Evaluation> {
  const request = await madeRequest(join(root, `${runs++}`), settings);
  const context = { signal: new AbortController().signal, progress: () => undefined };
  const { outputs } = await evaluate(madeDependencies(madeRows(count)), request, context, [perplexity, samples, answers]);
  return JSON.parse(readFileSync(fileURLToPath(outputNamed(outputs, "report").uri), "utf8")) as Evaluation;
}

test("answers to held-out rows are compared with what the rows have there", async () => {
  const evaluation = await evaluated(20, { generateSamples: 0, references: 10 });
  assert.deepEqual(evaluation.tasks, { answers: { rows: 10 } });
  const [exact, rouge] = [figureNamed(evaluation, "exactMatch")!, figureNamed(evaluation, "rougeL")!];
  assert.deepEqual([exact.better, exact.items, exact.base, exact.tuned], ["higher", 10, 0, 0]);
  // every second of the rows
  const expected = Array.from({ length: 10 }, (_, index) => "one two three four five".slice(0, 3 + 2 * index));
  const mean = expected.reduce((sum, text) => sum + rougeL(text, "a <word>"), 0) / 10;
  assert.ok(Math.abs(rouge.tuned! - mean) < 1e-12);
  assert.equal((await evaluated(20, {})).tasks, undefined);
});

test("own prompts and Dolly's are answered beside the rows, by drawn tokens as well where the settings say so", async () => {
  const prompts = [{ instruction: "Greet.", input: "Ada" }, { instruction: "Count." }];
  const { samples: plain } = await evaluated(4, { generateSamples: 1, prompts });
  assert.deepEqual(
    plain.map(({ kind, instruction }) => [kind, instruction]),
    [[undefined, "Say 0 in a word."], ["own", "Greet."], ["own", "Count."], ...DOLLY_INSTRUCTIONS.map((each) => ["dolly", each])],
  );
  assert.deepEqual([plain[1]!.input, plain[2]!.input, plain[1]!.expected, plain[0]!.expected], ["Ada", undefined, undefined, "one"]);
  assert.ok(plain.every(({ drawn }) => drawn === undefined));
  const { samples: drawn } = await evaluated(4, { generateSamples: 0, prompts, generation: { temperature: 0.8, maxNewTokens: 7 } });
  assert.deepEqual(
    drawn.map((sample) => sample.drawn),
    [1, 2].map(() => ({ base: "again a", tuned: "a <word" })),
  );
});

test("a prompt that leaves no room for an answer is refused before a model is opened, or cut", async () => {
  const request = { generateSamples: 0, prompts: [{ instruction: "long ".repeat(400) }] };
  await assert.rejects(
    evaluated(2, request),
    (error) => error instanceof UserError && /tooLong to "cut" \[tokens=\d+, positions=\d+\]/.test(error.message),
  );
  const { samples: cut } = await evaluated(2, { ...request, generation: { tooLong: "cut" } });
  assert.ok(String(cut[0]!.prompt).endsWith("long \n\n### Response:\n"));
});

test("without a tokenizer there is nothing to compare", () => {
  const input = { settings: { references: 3 }, tokenizer: null, split: { count: 0 } } as unknown as TaskInput;
  assert.throws(() => answers.items(input), /set evaluate.references to 0/);
  const settings = { generateSamples: 0, prompts: [{ instruction: "Greet.", input: null }], generation: {} };
  assert.throws(() => samples.items({ ...input, settings, prompt: null } as unknown as TaskInput), /leave evaluate\.prompts out/);
});
