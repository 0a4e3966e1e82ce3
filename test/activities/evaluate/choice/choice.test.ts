import assert from "node:assert/strict";
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Stage, type StageContext, type StageRequest } from "../../../../activities/common/stage.js";
import type { ChoiceReport } from "../../../../activities/evaluate/choice/choice-evaluation.js";
import { evaluateDefinition } from "../../../../activities/evaluate/definition.js";
import { evaluate } from "../../../../activities/evaluate/evaluate.js";
import type { Evaluation } from "../../../../activities/evaluate/evaluation.js";
import { parseRunConfig } from "../../../../core/config/schema.js";
import type { Progress } from "../../../../core/stages/results.js";
import { openInference } from "../../../../engines/onnx/inference/open-inference.js";
import { artifactOf } from "../../../../infra/disk/files.js";
import { REFERENCE } from "../../../core/model/reference.js";
import { startTestHub } from "../../../infra/sources/hub/harness.js";
import { dependenciesFor } from "../../download/dependencies.js";
import { madeDependencies, madeRequest, noPlaces } from "../made-models.js";

const root = mkdtempSync(join(tmpdir(), "roslin-choice-"));
after(() => rmSync(root, { recursive: true }));

/** What test/interop/harness.py recorded: items in the fields of each task, with what lm-evaluation-harness makes of them. */
type Recorded = Readonly<
  Record<
    string,
    { readonly rows: readonly object[]; readonly logLikelihoods: number[][]; readonly acc: number; readonly acc_norm?: number }
  >
>;
const recorded = JSON.parse(readFileSync(join(REFERENCE, "harness.json"), "utf8")) as Recorded;

const file = (name: string, rows: readonly object[]): string => {
  const path = join(root, name);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return pathToFileURL(path).href;
};
const context = (progress: StageContext["progress"] = () => undefined): StageContext => ({
  signal: new AbortController().signal,
  progress,
});
const read = (uri: string): Evaluation => JSON.parse(readFileSync(fileURLToPath(uri), "utf8")) as Evaluation;

const QUIZ = { name: "quiz", context: "{{q}}", choices: ["yes", "no", "maybe"], answer: { index: "a" } };
const ROWS = Array.from({ length: 40 }, (_, index) => ({ q: `Question ${index} `.repeat(1 + (index % 3)), a: index % 3 }));
let requests = 0;
const quizRequest = (source: string, more: object = {}): Promise<StageRequest> =>
  madeRequest(join(root, `run-${requests++}`), { generateSamples: 0, tasks: { names: [{ ...QUIZ, source, ...more }] } });

test("log-likelihoods, acc and acc_norm of the seven tasks are those of lm-evaluation-harness", async () => {
  const model = join(root, "model");
  cpSync(join(REFERENCE, "gptj-tiny"), model, { recursive: true });
  for (const name of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
    cpSync(join(REFERENCE, "gptj-derivatives/dolly-v1", name), join(model, name));
  mkdirSync(join(root, "tokens"));
  const inputs = [await artifactOf("model", model), await artifactOf("tuned", model), await artifactOf("tokens", join(root, "tokens"))];
  const data = Object.fromEntries(Object.entries(recorded).map(([name, { rows }]) => [name, file(`${name}.jsonl`, rows)]));
  const request = { config: parseRunConfig({ evaluate: { generateSamples: 0, tasks: { data } } }), inputs, root: join(root, "seven") };
  const dependencies = { ...madeDependencies([]), openInference };
  const { outputs } = await evaluate(dependencies, request, context());
  const { tasks, figures } = read(outputs[0]!.uri);
  const journal = readFileSync(join(new Stage(evaluateDefinition, request).directory, "journal.jsonl"), "utf8");
  const lines = journal
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { task: string; model: string; value: number[][] });
  for (const [name, { rows, logLikelihoods, acc, acc_norm: normalized }] of Object.entries(recorded)) {
    const got = lines.flatMap((line) => (line.task === name && line.model === "base" ? line.value : []));
    assert.deepEqual(
      got.map((each) => each.length),
      logLikelihoods.map((each) => each.length),
      name,
    );
    logLikelihoods.flat().forEach((expected, at) => assert.ok(Math.abs(expected - got.flat()[at]!) < 1e-3, `${name} ${at}`));
    const report = tasks![name] as ChoiceReport;
    assert.deepEqual([report.items, report.acc!.base, report.acc_norm?.base], [rows.length, acc, normalized], name);
    assert.equal(figures!.find(({ metric }) => metric === `${name}.acc`)!.base, acc);
    assert.equal(report.data.source, `${name}.jsonl`);
  }
});

test("killed after any batch, an evaluation scores only the rest, and leaves the same bytes", async () => {
  const source = file("quiz.jsonl", ROWS);
  const whole = await evaluate(madeDependencies([]), await quizRequest(source), context());
  for (let done = 1; done < 6; done++) {
    const request = await quizRequest(source);
    const killed = new Error("killed by the test");
    const seen: string[] = [];
    const hear = ({ done: before, total, note }: Progress): void => {
      seen.push(`${note} ${before} of ${total}`);
      if (before === done && note!.startsWith("quiz of")) throw killed;
    };
    await assert.rejects(evaluate(madeDependencies([]), request, context(hear)), killed);
    assert.ok(seen.includes("quiz of the base model 0 of 6"));
    const calls: string[] = [];
    const resumed = await evaluate(
      madeDependencies([], (call) => void calls.push(call)),
      request,
      context(),
    );
    assert.equal(resumed.outputs[0]!.sha256, whole.outputs[0]!.sha256);
    assert.equal(calls.filter((call) => call.startsWith("score")).length, 6 - done);
  }
});

test("a limit takes the first items, and the same choice twice is scored once", async () => {
  const source = file("limited.jsonl", [...ROWS.slice(0, 3), { q: "broken", a: 9 }]);
  const request = await madeRequest(join(root, "limited"), {
    generateSamples: 0,
    tasks: { names: [{ ...QUIZ, source, choices: ["yes", "yes", "no"] }], limit: 3 },
  });
  const calls: string[] = [];
  const { outputs } = await evaluate(
    madeDependencies([], (call) => void calls.push(call)),
    request,
    context(),
  );
  assert.equal((read(outputs[0]!.uri).tasks!["quiz"] as ChoiceReport).items, 3);
  assert.ok(calls.includes("score base 0 0 1 1 2 2"), calls.join("; "));
});

test("items on this machine that have changed are scored again, and others are not", async () => {
  const source = file("changing.jsonl", ROWS.slice(0, 4));
  const request = await quizRequest(source);
  const first = await evaluate(madeDependencies([]), request, context());
  assert.equal((await evaluate(madeDependencies([]), request, context())).reused, true);
  appendFileSync(fileURLToPath(source), `${JSON.stringify({ q: "one more", a: 0 })}\n`);
  const second = await evaluate(madeDependencies([]), request, context());
  const items = [first, second].map(({ outputs }) => (read(outputs[0]!.uri).tasks!["quiz"] as ChoiceReport).items);
  assert.deepEqual([second.reused, ...items], [false, 5, 5]);
  assert.notEqual(first.outputs[0]!.sha256, second.outputs[0]!.sha256);
});

test("items on the hub are fetched at a commit, which the report names, and a later one does not change what was begun", async (t) => {
  const hub = await startTestHub({
    "datasets/org/quiz/data/test-00000-of-00001.jsonl": ROWS.map((row) => JSON.stringify(row)).join("\n"),
    "datasets/org/quiz/data/train-00000-of-00001.jsonl": '{"q":"not fetched","a":0}',
  });
  t.after(() => hub.close());
  const places = dependenciesFor(hub.url, hub.work);
  const request = await quizRequest("hf://org/quiz?split=test");
  const killed = new Error("killed by the test");
  const dependencies = { ...madeDependencies([]), places };
  const dying = context(({ note }) => {
    if (note === "quiz of the tuned model") throw killed;
  });
  await assert.rejects(evaluate(dependencies, request, dying), killed);
  assert.ok(!hub.requests.some(({ path }) => path.includes("resolve") && path.includes("train")));
  writeFileSync(join(hub.root, "datasets/org/quiz/data/test-00000-of-00001.jsonl"), '{"q":"another","a":0}');
  const { outputs } = await evaluate(dependencies, request, context());
  const report = read(outputs[0]!.uri).tasks!["quiz"] as ChoiceReport;
  assert.equal(report.items, ROWS.length);
  assert.match(report.data.source, /^hf:\/\/org\/quiz@[0-9a-f]{40}\?split=test$/);
  assert.match(report.data.sha256, /^[0-9a-f]{64}$/);
});

test("what is wrong with a task, its items or the model is named before a model is opened", async () => {
  const opened = (): never => assert.fail("a model was opened");
  const refused = async (source: string, message: RegExp, more: object = {}): Promise<void> => {
    const request = await quizRequest(source, more);
    await assert.rejects(evaluate({ ...madeDependencies([]), openInference: opened }, request, context()), { name: "UserError", message });
  };
  const with40 = (row: object): string => file(`wrong-${requests}.jsonl`, [...ROWS, row]);
  await refused(with40({ q: "q", a: null }), /the items of the task quiz cannot be used: the item has no right answer .*item=41\]/);
  await refused(with40({ q: "q" }), /no such field \[field=a, fields=q\].*item=41/);
  await refused(file("plain.jsonl", ROWS), /no such field \[field=question, fields=q a\]/, { context: "{{question}}" });
  await refused(file("none.jsonl", []), /the items of the task quiz cannot be used: a data file is empty/);
  await refused("file:///nowhere/rows.jsonl", /the items of the task quiz cannot be had: .*; set evaluate\.tasks\.data\.quiz/);
  const request = await quizRequest(file("fine.jsonl", ROWS));
  rmSync(join(fileURLToPath(request.inputs[0]!.uri), "tokenizer.json"));
  const inputs = [await artifactOf("model", fileURLToPath(request.inputs[0]!.uri)), ...request.inputs.slice(1)];
  await assert.rejects(evaluate({ ...madeDependencies([]), openInference: opened }, { ...request, inputs }, context()), {
    name: "UserError",
    message: /evaluate\.tasks needs the model's tokenizer/,
  });
});

test("a description in a file is read, and what is wrong in it is named with the file", async () => {
  const path = join(root, "quiz.json");
  const request = (): Promise<StageRequest> =>
    madeRequest(join(root, `run-${requests++}`), { generateSamples: 0, tasks: { names: [pathToFileURL(path).href] } });
  writeFileSync(path, JSON.stringify({ ...QUIZ, source: file("described.jsonl", ROWS) }));
  const { outputs } = await evaluate({ ...madeDependencies([]), places: noPlaces }, await request(), context());
  assert.equal((read(outputs[0]!.uri).tasks!["quiz"] as ChoiceReport).items, ROWS.length);
  writeFileSync(path, JSON.stringify({ ...QUIZ, source: "file:///rows.jsonl", contxt: "x" }));
  await assert.rejects(evaluate(madeDependencies([]), await request(), context()), {
    name: "UserError",
    message:
      /the task in file:.*quiz\.json cannot be used: .*unknown field evaluate\.tasks\.names\.0\.contxt; did you mean evaluate\.tasks\.names\.0\.context\?/,
  });
  writeFileSync(path, "[");
  await assert.rejects(
    evaluate(madeDependencies([]), await request(), context()),
    /the description of a task cannot be read: .*quiz\.json/,
  );
});
