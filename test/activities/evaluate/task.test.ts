import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Stage, type StageContext, type StageRequest } from "../../../activities/common/stage.js";
import { defineEvaluation, evaluateDefinition } from "../../../activities/evaluate/definition.js";
import { evaluate } from "../../../activities/evaluate/evaluate.js";
import type { Evaluation } from "../../../activities/evaluate/evaluation.js";
import type { EvaluationTask } from "../../../activities/evaluate/task.js";
import { TASKS } from "../../../activities/evaluate/tasks.js";
import { outputNamed, type Progress, type StageResult } from "../../../core/stages/results.js";
import { madeDependencies, madeRequest, madeRows } from "./made-models.js";
import { tokenCount } from "./token-count.js";
import type { Gate, Verdict } from "../../../core/stages/metrics.js";

const root = mkdtempSync(join(tmpdir(), "roslin-task-"));
after(() => rmSync(root, { recursive: true }));

const ROWS = madeRows(5);
const WITH_COUNT = [...TASKS, tokenCount];
/** What five rows take of each model: one batch, one of answers (to two rows and Dolly's five instructions), five counts. */
const ONE_MODEL = { score: 1, generate: 1 + 5 };
/** What the made models say, over five rows. */
const COUNTED = { base: 5 * "again and ".length * 20, tuned: 5 * "a <word>\n\n### End and more".length };

let requests = 0;
const newRequest = (): Promise<StageRequest> => madeRequest(join(root, `run-${requests++}`), { generateSamples: 2 });
const context = (progress: StageContext["progress"] = () => undefined): StageContext => ({
  signal: new AbortController().signal,
  progress,
});
const evaluationIn = (result: StageResult): Evaluation =>
  JSON.parse(readFileSync(fileURLToPath(outputNamed(result.outputs, "report").uri), "utf8")) as Evaluation;
/** A record of calls of the models, by kind. */
function callLog(): { readonly hear: (call: string) => void; readonly of: (kind: string) => number } {
  const calls: string[] = [];
  return { hear: (call) => void calls.push(call), of: (kind) => calls.filter((call) => call.startsWith(`${kind} `)).length };
}

test("a further task takes one file and one entry in the list: its report is in evaluation.json under its name, beside the others", async () => {
  const plain = evaluationIn(await evaluate(madeDependencies(ROWS), await newRequest(), context()));
  const calls = callLog();
  const seen: Progress[] = [];
  const result = await evaluate(
    madeDependencies(ROWS, calls.hear),
    await newRequest(),
    context((progress) => void seen.push(progress)),
    WITH_COUNT,
  );
  assert.deepEqual(evaluationIn(result), { ...plain, tasks: { "token-count": COUNTED } });
  assert.equal("tasks" in plain, false);
  assert.deepEqual([calls.of("score"), calls.of("generate")], [2 * ONE_MODEL.score, 2 * ONE_MODEL.generate]);
  assert.deepEqual(
    seen.filter(({ note }) => note === "tokens of the base model").map(({ done, total }) => [done, total]),
    [2, 3, 4, 5, 6].map((done) => [done, 14]),
  );
});

test("killed after any item, an evaluation with a further task does only the rest, and leaves the same bytes", async () => {
  const undisturbed = await evaluate(madeDependencies(ROWS), await newRequest(), context(), WITH_COUNT);
  const items = 2 * (ONE_MODEL.score + ONE_MODEL.generate);
  for (let done = 1; done < items; done++) {
    const request = await newRequest();
    const killed = new Error("killed by the test");
    const hear = ({ done: before, note }: Progress): void => {
      if (before === done && / of the /.test(note!)) throw killed;
    };
    await assert.rejects(evaluate(madeDependencies(ROWS), request, context(hear), WITH_COUNT), killed);
    const journal = join(new Stage(defineEvaluation(WITH_COUNT), request).directory, "journal.jsonl");
    // a kill may cut the last line short; that item is done again
    const text = readFileSync(journal, "utf8");
    truncateSync(journal, text.length - 3);
    const calls = callLog();
    const resumed = await evaluate(madeDependencies(ROWS, calls.hear), request, context(), WITH_COUNT);
    assert.equal(resumed.outputs[0]!.sha256, undisturbed.outputs[0]!.sha256, `killed after ${done} items`);
    assert.equal(calls.of("score") + calls.of("generate"), items - done + 1, `killed after ${done} items`);
    // a base with all its lines is not opened again
    assert.equal(calls.of("open"), done > items / 2 ? 1 : 2, `killed after ${done} items`);
  }
});

test("each line of the journal names model, task, item and value", async () => {
  const request = await newRequest();
  await evaluate(madeDependencies(ROWS), request, context(), [...TASKS, tokenCount]);
  const lines = readFileSync(join(new Stage(defineEvaluation(WITH_COUNT), request).directory, "journal.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    lines.map(({ model, task, item }) => `${String(model)} ${String(task)} ${String(item)}`),
    ["base", "tuned"].flatMap((model) =>
      ["perplexity 0", "samples 0", ...[0, 1, 2, 3, 4].map((row) => `token-count ${row}`)].map((item) => `${model} ${item}`),
    ),
  );
  assert.deepEqual(lines.at(-1), { model: "tuned", task: "token-count", item: 4, value: { tokens: COUNTED.tuned / 5 } });
});

test("values of another version of a task are not read, and neither are those of a list without it", async () => {
  const request = await newRequest();
  const half = ({ done }: Progress): void => {
    if (done === 5) throw new Error("stopped by the test");
  };
  await assert.rejects(evaluate(madeDependencies(ROWS), request, context(half), WITH_COUNT), /stopped by the test/);
  // its values are something else than version 1's
  const inTens: EvaluationTask<number, number, { readonly tens: number }> = {
    name: tokenCount.name,
    version: 2,
    measure: tokenCount.measure,
    items: (input) => tokenCount.items(input),
    run: async (model, row, input) => (await tokenCount.run(model, row, input)).tokens / 10,
    report: ({ base }) => ({ tens: base.reduce((sum, value) => sum + value, 0) }),
  };
  const calls = callLog();
  const next = await evaluate(madeDependencies(ROWS, calls.hear), request, context(), [...TASKS, inTens]);
  assert.deepEqual(evaluationIn(next).tasks, { "token-count": { tens: COUNTED.base / 10 } });
  assert.equal(calls.of("generate"), 2 * ONE_MODEL.generate);
  assert.equal("tasks" in evaluationIn(await evaluate(madeDependencies(ROWS), request, context())), false);
});

test("what a task does is told apart from the others' by its name alone", async () => {
  const twice: EvaluationTask<number, { readonly tokens: number }, object> = { ...tokenCount, name: "batch", version: 7 };
  const { tasks } = evaluationIn(await evaluate(madeDependencies(ROWS), await newRequest(), context(), [...WITH_COUNT, twice]));
  assert.deepEqual(tasks, { "token-count": COUNTED, batch: COUNTED });
});

test("the gate is passed only if every task with a verdict passes", async () => {
  const gateOf = async (rows: typeof ROWS, verdict?: Verdict): Promise<Gate> => {
    const judging: EvaluationTask = verdict === undefined ? tokenCount : { ...tokenCount, verdict: () => verdict };
    return evaluationIn(await evaluate(madeDependencies(rows), await newRequest(), context(), [...TASKS, judging])).gate;
  };
  const compared = await gateOf(ROWS);
  assert.deepEqual([compared.judged, compared.passed, "tasks" in compared], [true, true, false]);
  const [good, bad] = [
    { judged: true, passed: true },
    { judged: true, passed: false },
  ];
  assert.deepEqual(await gateOf(ROWS, good), { ...compared, tasks: { "token-count": good } });
  const failed = { reason: "token-count not passed", tasks: { "token-count": bad } };
  assert.deepEqual(await gateOf(ROWS, bad), { ...compared, passed: false, ...failed });
  const nothing = { judged: false, passed: true };
  assert.deepEqual(await gateOf(ROWS, nothing), { ...compared, tasks: { "token-count": nothing } });
  assert.deepEqual(await gateOf([], bad), { ...bad, ratio: null, maxPerplexityRatio: 1, ...failed });
});

test("a loss that is not a finite number ends the stage, with model and rows named", async () => {
  const made = madeDependencies(ROWS);
  const broken = {
    ...made,
    openInference: async (...place: Parameters<typeof made.openInference>) => ({
      ...(await made.openInference(...place)),
      score: () => Promise.resolve({ nll: Number.NaN, labels: 1, rows: [Number.NaN] }),
    }),
  };
  await assert.rejects(evaluate(broken, await newRequest(), context()), /the base model's loss is not a finite number \[rows=1 to 13\]/);
});

test("a live model on this machine stands in the settings by its name alone, because they are published", async () => {
  const { config } = await newRequest();
  const rules = [{ metric: "loss", against: "live" as const, atMost: 1, confident: false }];
  const live = { uri: "file:///home/someone/models/m-0123456789ab", manifest: "0".repeat(64) };
  const ruled = { ...config, evaluate: { ...config.evaluate, live, gate: { ...config.evaluate.gate, rules } } };
  assert.deepEqual((evaluateDefinition.settings(ruled) as { live: object }).live, { ...live, uri: "m-0123456789ab" });
});

test("tasks have names of their own, which are part of the stage's settings with their versions", async () => {
  const { config } = await newRequest();
  assert.equal(new Set(TASKS.map(({ name }) => name)).size, TASKS.length);
  // how long a person may take to decide changes no report
  const { overrideWithinHours: _, ...gate } = config.evaluate.gate;
  const versionsOf = (tasks: readonly EvaluationTask[]) => Object.fromEntries(tasks.map(({ name, version }) => [name, version]));
  assert.deepEqual(evaluateDefinition.settings(config), { ...config.evaluate, gate, versions: versionsOf(TASKS) });
  assert.deepEqual(defineEvaluation(WITH_COUNT).settings(config), {
    ...config.evaluate,
    gate,
    versions: { ...versionsOf(TASKS), "token-count": 1 },
  });
});
