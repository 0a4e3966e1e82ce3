import assert from "node:assert/strict";
import { test } from "node:test";
import { TASK_NAMES } from "../../../core/config/evaluate.js";
import { parseRunConfig, type RunConfig } from "../../../core/config/schema.js";
import { ConfigError } from "../../../core/errors.js";

const QUIZ = { name: "quiz", source: "file:///q.jsonl", context: "{{q}}", choices: ["a", "b"], answer: { index: "right" } };
const parse = (tasks: unknown): RunConfig["evaluate"]["tasks"] => parseRunConfig({ evaluate: { tasks } }).evaluate.tasks;

test("no task runs by default, and an empty object means the seven of Dolly's table", () => {
  assert.equal(parse(null), null);
  assert.deepEqual(parse({}), { names: [...TASK_NAMES], limit: null, data: {} });
});

test("a description may leave out what is usual", () => {
  const [task] = parse({ names: [QUIZ] })!.names;
  assert.deepEqual(task, { ...QUIZ, answer: { index: "right", first: 0 }, delimiter: " ", clean: [], metrics: ["acc"] });
  assert.deepEqual(parse(parse({ names: [QUIZ, "piqa"] })), parse({ names: [QUIZ, "piqa"] }));
});

const wrong: [unknown, RegExp][] = [
  [{ limt: 5 }, /unknown field evaluate\.tasks\.limt; did you mean evaluate\.tasks\.limit\?/],
  [{ limit: 0 }, /evaluate\.tasks\.limit: .*got 0/],
  [{ names: [] }, /evaluate\.tasks\.names: /],
  [{ names: ["helaswag"] }, /evaluate\.tasks\.names\.0: is not a task; did you mean hellaswag\?.*got "helaswag"/],
  [{ names: ["mmlu_pro_plus"] }, /is not a task; known are openbookqa, arc_easy/],
  [{ names: ["piqa", "piqa"] }, /each task must have a name of its own, and piqa is there twice/],
  [{ names: [{ ...QUIZ, name: "piqa" }] }, /piqa is the name of a built-in task/],
  [{ names: ["piqa"], data: { piq: "file:///x.jsonl" } }, /evaluate\.tasks\.data\.piq: is not among the tasks; did you mean piqa\?/],
  [{ data: { piqa: "ftp://x" } }, /evaluate\.tasks\.data\.piqa: must be hf:/],
  [
    { names: [{ ...QUIZ, contxt: "x" }] },
    /unknown field evaluate\.tasks\.names\.0\.contxt; did you mean evaluate\.tasks\.names\.0\.context\?/,
  ],
  [{ names: [{ ...QUIZ, answer: undefined }] }, /evaluate\.tasks\.names\.0\.answer: /],
  [{ names: [{ ...QUIZ, answer: { idx: "right" } }] }, /evaluate\.tasks\.names\.0\.answer/],
  [{ names: [{ ...QUIZ, name: "a b" }] }, /evaluate\.tasks\.names\.0\.name: must be of letters, digits, _ and -, got "a b"/],
  [{ names: [{ ...QUIZ, context: undefined }] }, /evaluate\.tasks\.names\.0\.context: needs either a context or a blank/],
  [{ names: [{ ...QUIZ, name: "perplexity" }] }, /evaluate\.tasks\.names\.0\.name: is a name that the evaluation itself has/],
  [{ names: [{ ...QUIZ, choices: ["one"] }] }, /evaluate\.tasks\.names\.0\.choices/],
  [{ names: [{ ...QUIZ, choices: "{{a}} or {{b}}" }] }, /evaluate\.tasks\.names\.0\.choices: must be a list of texts, or "\{\{field\}\}"/],
  [{ names: [{ ...QUIZ, source: "hf://me/quiz" }] }, /evaluate\.tasks\.names\.0\.source: needs \?split=NAME/],
  [
    { names: [{ ...QUIZ, context: undefined, blank: { field: "q", mark: "_" }, metrics: ["acc_norm"] }] },
    /evaluate\.tasks\.names\.0\.metrics: acc_norm compares continuations/,
  ],
  [{ names: [5] }, /evaluate\.tasks\.names\.0: .*got 5/],
];
for (const [tasks, message] of wrong)
  test(`the tasks ${JSON.stringify(tasks)} are refused, and the field named`, () => {
    assert.throws(
      () => parse(tasks),
      (error) => error instanceof ConfigError && (message.test(error.message) || assert.fail(error.message)),
    );
  });

test("temperatures and penalties by which fp32 cannot divide are refused, with the range", () => {
  const generation = (settings: object): RunConfig["evaluate"]["generation"] =>
    parseRunConfig({ evaluate: { generation: settings } }).evaluate.generation;
  assert.equal(generation({ temperature: 1e-6 }).temperature, 1e-6);
  assert.equal(generation({ temperature: 0 }).temperature, 0);
  assert.throws(() => generation({ temperature: 1e-38 }), /evaluate\.generation\.temperature: must be 0, or at least 0\.000001, got 1e-38/);
  assert.throws(() => generation({ repetitionPenalty: 1e-46 }), /evaluate\.generation\.repetitionPenalty: .*0\.000001.*got 1e-46/);
});
