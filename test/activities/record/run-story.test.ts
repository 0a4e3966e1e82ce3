import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { REQUEST, RESULT, Stage, WANTED, type StageRequest } from "../../../activities/common/stage.js";
import { evaluateDefinition } from "../../../activities/evaluate/definition.js";
import { findStages, lastRequest } from "../../../activities/record/find-stages.js";
import { runStory } from "../../../activities/record/run-story.js";
import { publishDefinition } from "../../../activities/publish/definition.js";
import { publish } from "../../../activities/publish/publish.js";
import { reportPage } from "../../../activities/report/report-page.js";
import type { ReportStory } from "../../../activities/report/story.js";
import { openLog } from "../../../activities/train/log/commit-log.js";
import { trainDefinition } from "../../../activities/train/definition.js";
import { STEPS } from "../../../activities/train/log/steps-file.js";
import { UserError } from "../../../core/errors.js";
import type { StepRecord } from "../../../engines/engine.js";
import { fileStore } from "../../../infra/store/file-store.js";
import { finishedRun, LOSSES, publishDependencies } from "../publish/run.js";
import { parseMarkup } from "../report/parse-markup.js";

const root = mkdtempSync(join(tmpdir(), "roslin-record-"));
after(() => rmSync(root, { recursive: true }));
const context = { signal: new AbortController().signal, progress: () => undefined };

function tell(request: StageRequest, more: { failure?: string; isRunning?: boolean } = {}): Promise<ReportStory> {
  const { failure = null, isRunning = false } = more;
  return runStory({ name: "my-run", request, root: request.root, failure, isRunning }, fileStore);
}

async function run(): Promise<StageRequest> {
  const place = mkdtempSync(join(root, "run-"));
  return finishedRun(place, pathToFileURL(join(place, "target")).href);
}

test("a published run is told whole, under the name of its model", async () => {
  const request = await run();
  const result = await publish(publishDependencies(), request, context);
  // publishing left word of what it was given
  assert.deepEqual(await lastRequest(request.root), JSON.parse(JSON.stringify({ config: request.config, inputs: request.inputs })));
  const story = await tell(request);
  assert.equal(story.title, result.metrics.version);
  assert.equal(story.unfinished, undefined);
  assert.deepEqual(story.losses, LOSSES);
  assert.equal(story.evaluation!.perplexity.tuned, 20);
  assert.equal(story.descent!.licence, "cc-by-nc-4.0");
  assert.equal(story.ledger!.failures, 1);
  assert.deepEqual(Object.keys(story.digests), ["base model", "dataset", "tokens", "tuned"]);
  assert.ok(story.parameters! > 0);
  parseMarkup(reportPage(story));
});

test("what an earlier version published, under a key of its own, is found by its inputs and settings", async () => {
  const request = await run();
  const result = await publish(publishDependencies(), request, context);
  const { directory } = new Stage(publishDefinition, request);
  const earlier = join(request.root, "publish", "0123456789abcdef");
  renameSync(directory, earlier);
  const parts = JSON.parse(readFileSync(join(earlier, WANTED), "utf8")) as { version: number };
  writeFileSync(join(earlier, WANTED), JSON.stringify({ ...parts, version: parts.version - 1 }));
  assert.equal((await tell(request)).title, result.metrics.version);
  const other = { ...request, config: { ...request.config, publish: { ...request.config.publish, target: "file:///elsewhere" } } };
  assert.equal((await tell(other)).unfinished, "Not finished: in publish");
});

/** Stages by their name, and whether they have finished. */
async function standing(request: Parameters<typeof findStages>[0], place: string): Promise<string[]> {
  return (await findStages(request, place)).map(({ name, result }) => `${name} ${result === null ? "open" : "done"}`);
}

test("a run is not told by what another did with other settings, also where a key leaves out what is usual", async () => {
  const { config, root: place, ...request } = await run();
  await publish(publishDependencies(), { config, root: place, ...request }, context);
  const done = ["download done", "preprocess done", "train done", "evaluate done", "publish done"];
  assert.deepEqual(await standing({ config, inputs: [] }, place), done);
  const until = (count: number): string[] => [...done.slice(0, count), done[count]!.replace("done", "open")];
  const halved = { ...config, train: { ...config.train, precision: "bf16" as const } };
  assert.deepEqual(await standing({ config: halved, inputs: [] }, place), until(2));
  for (const change of [{ merge: true }, { sign: { key: "env" } as never }]) {
    const other = { ...config, publish: { ...config.publish, ...change } };
    assert.deepEqual(await standing({ config: other, inputs: [] }, place), until(4), JSON.stringify(change));
  }
  const override = { by: "Ada", reason: "the rows are few" };
  assert.deepEqual(await standing({ config, inputs: [], override }, place), until(4));
});

test("a run whose gate a person overrode is told as that, and another run of the same is not", async () => {
  const place = mkdtempSync(join(root, "run-"));
  const { config, inputs, root: stages } = await finishedRun(place, pathToFileURL(join(place, "target")).href, false);
  const override = { by: "Ada", reason: "the rows are few" };
  await publish(publishDependencies(), { config, inputs, root: stages, override }, context);
  const last = await lastRequest(stages);
  assert.deepEqual(last!.override, override);
  assert.equal((await findStages(last!, stages)).at(-1)!.result?.stage, "publish");
  assert.equal((await findStages({ config, inputs }, stages)).at(-1)!.result, null);
});

test("a field that an earlier version did not know is what is usual today", async () => {
  const request = await run();
  await publish(publishDependencies(), request, context);
  const { directory } = new Stage(publishDefinition, request);
  const earlier = join(request.root, "publish", "0123456789abcdef");
  renameSync(directory, earlier);
  const parts = JSON.parse(readFileSync(join(earlier, WANTED), "utf8")) as { version: number; settings: { storageClass?: null } };
  const { storageClass: _, ...settings } = parts.settings;
  const record = (version: number): void => writeFileSync(join(earlier, WANTED), JSON.stringify({ ...parts, version, settings }));
  const last = async (publishing: object): Promise<boolean> => {
    const config = { ...request.config, publish: { ...request.config.publish, ...publishing } };
    return (await findStages({ ...request, config }, request.root)).at(-1)!.result !== null;
  };
  record(parts.version - 1);
  assert.equal(await last({}), true);
  assert.equal(await last({ storageClass: "STANDARD_IA" }), false);
  record(parts.version);
  assert.equal(await last({}), false);
});

test("a run that is evaluated and not published says where it is", async () => {
  const request = await run();
  assert.equal((await tell(request, { isRunning: true })).unfinished, "Under way in publish");
  assert.equal((await tell(request, { failure: "the bucket is gone" })).unfinished, "Ended in publish: the bucket is gone");
  assert.equal((await tell(request)).unfinished, "Not finished: in publish");
});

test("a run whose stages are elsewhere says so", async () => {
  const request = await run();
  assert.equal(
    (await tell({ ...request, root: join(root, "elsewhere") })).unfinished,
    "Its stages are on another machine, or were removed",
  );
});

/** A published run whose evaluation lies in its stage's directory, as stages leave it. */
async function settledRun(): Promise<StageRequest & { readonly evaluate: string }> {
  const request = await run();
  const { directory } = new Stage(evaluateDefinition, request);
  const record = readFileSync(join(directory, RESULT), "utf8");
  const from = fileURLToPath(request.inputs.find(({ name }) => name === "report")!.uri);
  renameSync(from, join(directory, "evaluation.json"));
  const inputs = JSON.parse(JSON.stringify(request.inputs).replaceAll(from, join(directory, "evaluation.json"))) as StageRequest["inputs"];
  writeFileSync(join(directory, RESULT), record.replaceAll(from, join(directory, "evaluation.json")));
  await publish(publishDependencies(), { ...request, inputs }, context);
  return { ...request, inputs, evaluate: directory };
}

test("a run whose directory was moved is told whole, also where the addresses in its records were rewritten", async () => {
  const { root: before } = await settledRun();
  const [moved, rewritten] = [mkdtempSync(join(root, "moved-")), mkdtempSync(join(root, "rewritten-"))];
  renameSync(before, moved);
  const story = await tell({ ...(await lastRequest(moved))!, root: moved });
  assert.equal(story.unfinished, undefined);
  assert.equal(story.evaluation!.perplexity.tuned, 20);
  cpSync(moved, rewritten, { recursive: true });
  for (const file of readdirSync(rewritten, { recursive: true, encoding: "utf8" }).filter((name) =>
    /(stage|wanted|request)\.json$/.test(name),
  )) {
    const text = readFileSync(join(rewritten, file), "utf8");
    writeFileSync(join(rewritten, file), text.replaceAll(before, rewritten).replaceAll("/models/base", "/mnt/base"));
  }
  const request = await lastRequest(rewritten);
  assert.equal(request!.config.model.source, "file:///mnt/base");
  assert.equal((await tell({ ...request!, root: rewritten })).unfinished, undefined);
});

test("a damaged file of a run is named without the machine's directories, with what to do", async () => {
  const { evaluate, ...request } = await settledRun();
  const isNamed = (file: string) => (error: unknown) =>
    error instanceof UserError &&
    error.message.includes(`evaluate/${basename(evaluate)}/${file}`) &&
    !error.message.includes(root) &&
    /again/.test(error.message);
  const report = join(evaluate, "evaluation.json");
  const whole = readFileSync(report);
  writeFileSync(report, whole.subarray(0, 20));
  await assert.rejects(tell(request), isNamed("evaluation.json"));
  rmSync(report);
  await assert.rejects(tell(request), isNamed("evaluation.json"));
  writeFileSync(report, whole);
  assert.equal((await tell(request)).unfinished, undefined);
  writeFileSync(join(evaluate, RESULT), "{");
  await assert.rejects(tell(request), isNamed(RESULT));
  writeFileSync(join(evaluate, REQUEST), "");
  rmSync(join(request.root, "publish"), { recursive: true });
  await assert.rejects(lastRequest(request.root), isNamed(REQUEST));
});

test("a run of which no stage has begun has a page", async () => {
  const { config } = await run();
  const story = await tell({ config, inputs: [], root: join(root, "nowhere") }, { isRunning: true });
  assert.equal(story.unfinished, "Under way in download");
  parseMarkup(reportPage(story));
  assert.equal(await lastRequest(join(root, "nowhere")), null);
});

/** Five steps are kept and two more done, then the next attempt goes on from the fifth to the sixth. */
async function trainSome(request: StageRequest): Promise<void> {
  const { directory } = new Stage(trainDefinition, request);
  mkdirSync(join(directory, STEPS), { recursive: true });
  writeFileSync(join(directory, REQUEST), JSON.stringify({ config: request.config, inputs: request.inputs }));
  const log = await openLog(fileStore(directory));
  const fingerprint = { cpu: "c" };
  const time = Date.now();
  const record = (step: number): StepRecord => ({ loss: 1 / step, norm: step, seconds: 2, spent: {}, tokens: 100, labels: 9, rows: 1 });
  const lines = (from: number, to: number, begun: number): string =>
    [
      { fingerprint },
      ...Array.from({ length: to - from + 1 }, (_, index) => ({
        step: from + index,
        loss: 1 / (from + index),
        norm: from + index,
        seconds: 2,
        time: begun + (index + 1) * 2000,
      })),
    ]
      .map((line) => `${JSON.stringify(line)}\n`)
      .join("");
  await log.append({ kind: "attempt", workers: 1, resumeFrom: null, resumeStep: 0 });
  writeFileSync(join(directory, STEPS, "g000001.jsonl"), lines(1, 7, time));
  await log.append({
    ...{ kind: "checkpoint", generation: 1, step: 5, updates: 5, reason: "interval", parent: null, fingerprint, shards: [] },
    steps: [1, 2, 3, 4, 5].map(record),
  });
  await log.append({ kind: "end", generation: 1, what: "worker 0 of 1 died after 7 steps", message: null, lost: [], poison: null });
  await log.append({ kind: "attempt", workers: 1, resumeFrom: 2, resumeStep: 5 });
  writeFileSync(join(directory, STEPS, "g000004.jsonl"), lines(6, 6, time + 20_000));
}

test("a run that trains is told by its commit log and its records of steps: lost steps are gone, and what interrupted it is there", async () => {
  const request = await run();
  rmSync(join(request.root, "train"), { recursive: true });
  const early = { ...request, inputs: request.inputs.slice(0, 3) };
  await trainSome(early);
  assert.deepEqual(await standing(early, request.root), ["download done", "preprocess done", "train open"]);
  const story = await tell(early, { isRunning: true });
  assert.deepEqual(
    story.losses,
    [1, 2, 3, 4, 5, 6].map((step) => 1 / step),
  );
  assert.deepEqual(story.curves!.rates, [50, 50, 50, 50, 50]);
  assert.equal(story.unfinished, "Under way in train, 6 steps done");
  assert.equal(story.evaluation, null);
  const [interruption] = story.ledger!.interruptions;
  assert.deepEqual([interruption!.what, interruption!.afterStep, interruption!.stepsLost], ["worker 0 of 1 died after 7 steps", 5, 2]);
  assert.equal(story.ledger!.steps, 6);
  const page = reportPage(story);
  parseMarkup(page);
  assert.match(page, /class="sign failure" x="[\d.]+%" y="100%" data-at="7"/);
});
