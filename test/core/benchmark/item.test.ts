import assert from "node:assert/strict";
import { test } from "node:test";
import { BUILT_IN } from "../../../core/benchmark/built-in.js";
import { choiceMetrics, chosenTasks } from "../../../core/benchmark/chosen.js";
import { columnsOfTask, itemOf } from "../../../core/benchmark/item.js";
import { TASK_NAMES } from "../../../core/config/evaluate.js";
import { choiceTask, type ChoiceTask } from "../../../core/config/choice-task.js";
import { parseRunConfig } from "../../../core/config/schema.js";

const quiz: ChoiceTask = choiceTask.parse({
  name: "quiz",
  source: "file:///rows.jsonl",
  context: "Q: {{question}}\nA:",
  choices: "{{options}}",
  answer: { index: "right" },
  metrics: ["acc", "acc_norm"],
});
const row = { question: "Which?", options: ["one", "two 🐑"], right: 1 };

test("the built-in tasks are descriptions that a user could have written", () => {
  assert.deepEqual(Object.keys(BUILT_IN), [...TASK_NAMES]);
  for (const [name, task] of Object.entries(BUILT_IN)) {
    assert.deepEqual(choiceTask.parse(task), task);
    assert.equal(task.name, name);
  }
});

test("an item has a context and a continuation for each choice, and lengths in characters", () => {
  assert.deepEqual(itemOf(quiz, row), {
    pairs: [
      { context: "Q: Which?\nA:", continuation: " one" },
      { context: "Q: Which?\nA:", continuation: " two 🐑" },
    ],
    lengths: [3, 5],
    answer: 1,
  });
  assert.deepEqual(columnsOfTask(quiz), ["question", "options", "right"]);
  assert.deepEqual(columnsOfTask(BUILT_IN.openbookqa), ["question_stem", "choices", "answerKey"]);
  assert.deepEqual(columnsOfTask(BUILT_IN.hellaswag), ["activity_label", "ctx_a", "ctx_b", "endings", "label"]);
});

test("where a blank is filled, the contexts differ and the continuation is one", () => {
  const fields = { sentence: "The cup is in the _ now. ", option1: "box", option2: "bag", answer: "2" };
  assert.deepEqual(itemOf(BUILT_IN.winogrande, fields).pairs, [
    { context: "The cup is in the box", continuation: " now." },
    { context: "The cup is in the bag", continuation: " now." },
  ]);
  assert.equal(itemOf(BUILT_IN.winogrande, fields).answer, 1);
  assert.throws(
    () => itemOf(BUILT_IN.winogrande, { ...fields, sentence: "none" }),
    /lacks the mark that the choices replace \[field=sentence, mark=_\]/,
  );
});

test("texts are cleaned, and capital letters are made, as Python does it", () => {
  const fields = {
    activity_label: " Wash",
    ctx_a: "He [title] Goes [a\nb] [x].",
    ctx_b: "ǆ Éva",
    endings: [" [step] a  b", "c"],
    label: "0",
  };
  const { pairs } = itemOf(BUILT_IN.hellaswag, fields);
  assert.equal(pairs[0]!.context, "Wash: He. Goes [a\nb] . ǅ éva");
  assert.equal(pairs[0]!.continuation, "  a b");
});

test("a right answer is a number, a label or a text", () => {
  const right = (answer: ChoiceTask["answer"], fields: object): number => itemOf({ ...quiz, answer }, { ...row, ...fields }).answer;
  assert.equal(right({ index: "n", first: 1 }, { n: "2" }), 1);
  assert.equal(right({ index: "n", first: 0 }, { n: true }), 1);
  assert.equal(right({ label: "key", labels: "keys" }, { key: " B", keys: ["A", "B"] }), 1);
  assert.equal(right({ label: "key", labels: "keys" }, { key: 1, keys: ["1", "2"] }), 0);
  assert.equal(right({ text: "said" }, { said: "one" }), 0);
});

test("what an item lacks is named", () => {
  const says = (change: object, message: RegExp, task: ChoiceTask = quiz): void =>
    assert.throws(() => itemOf(task, { ...row, ...change }), { name: "UserError", message });
  says({ right: null }, /the item has no right answer \[field=right, expected=a number from 0 to 1, got=null\]/);
  says({ right: 2 }, /no right answer \[.*got=2\]/);
  says({ right: -1 }, /no right answer/);
  says({ right: "" }, /no right answer/);
  says({ right: 0.5 }, /no right answer/);
  says({ options: [] }, /an item needs two choices or more \[got=0\]/);
  says({ options: ["one", ""] }, /a choice is empty \[choice=2, of=2\]/);
  says({ options: "one" }, /a field must be a list of texts \[field=options, got="one"\]/);
  says({ question: null }, /a field must be a text \[field=question, got=null\]/);
  says({}, /the item has no such field \[field=answer, fields=question options right\]/, {
    ...quiz,
    answer: { index: "answer", first: 0 },
  });
  says({}, /a filter is unknown \[expected=trim capitalize, got=upper\]/, { ...quiz, context: "{{question|upper}}" });
  says({ said: "three" }, /no right answer \[field=said, expected=one of "one", "two 🐑", got="three"\]/, {
    ...quiz,
    answer: { text: "said" },
  });
  says({ keys: ["A"], key: "A" }, /a label for each choice \[field=keys, choices=2, labels=1\]/, {
    ...quiz,
    answer: { label: "key", labels: "keys" },
  });
});

test("another source has the same configuration and split, unless it is one file or chooses itself", () => {
  const sourceFor = (source: string): string =>
    chosenTasks(parseRunConfig({ evaluate: { tasks: { names: ["boolq"], data: { boolq: source } } } }).evaluate.tasks)[0]!.source;
  assert.equal(sourceFor("hf://me/copy@v1"), "hf://me/copy@v1?config=boolq&split=validation");
  assert.equal(sourceFor("file:///data/boolq.jsonl"), "file:///data/boolq.jsonl");
  assert.equal(sourceFor("s3://b/copy?split=test"), "s3://b/copy?split=test");
});

test("the figures of the chosen tasks are known before anything is measured", () => {
  const { tasks } = parseRunConfig({ evaluate: { tasks: { names: ["piqa", "winogrande", "file:///quiz.json"] } } }).evaluate;
  assert.deepEqual(choiceMetrics(tasks), ["piqa.acc", "piqa.acc_norm", "winogrande.acc"]);
  assert.deepEqual(choiceMetrics(null), []);
});
