import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowUpdateFailedError, type WorkflowHandle } from "@temporalio/client";
import { Worker } from "@temporalio/worker";
import { overrideRun } from "../../cli/commands/override.js";
import { outcome } from "../../cli/show/watch-run.js";
import { ChangedInputError, UserError } from "../../core/errors.js";
import { parseRunConfig } from "../../core/config/schema.js";
import type { Override } from "../../core/stages/override.js";
import { bundleWorkflows } from "../../workers/bundle.js";
import { QUERIES, UPDATES, type PipelineActivities, type RunProgress, type StageInput } from "../../workflows/contract.js";
import { until } from "./pauses.js";
import { ask, resultOf, startPlace, type Place } from "./place.js";

let place: Place;
before(async () => {
  place = await startPlace();
});
afterEach(() => place.clear());
after(() => place.stop());

const ADA = { by: "Ada", reason: "the rows were too hard" };
const REASON = "loss 1.2000 times the live model's, at most 1";

/** Stages whose gate is not passed; `published` hears what publishing is given. */
function failing(published: (StageInput["override"] | null)[], changes: Partial<PipelineActivities> = {}): Partial<PipelineActivities> {
  const gate = { judged: true, passed: false, ratio: 1, maxPerplexityRatio: 1, reason: REASON };
  return {
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
    evaluate: async () => resultOf("evaluate", ["report"], { perplexity: { base: 20, tuned: 10 }, gate }),
    publish: async ({ override }) => {
      published.push(override ?? null);
      const latest = override !== undefined;
      return resultOf("publish", ["published"], { latest, reason: latest ? null : REASON, gate, ...(latest && { override }) });
    },
    ...changes,
  };
}

const configOf = (overrideWithinHours = 0): unknown =>
  JSON.parse(JSON.stringify(parseRunConfig({ evaluate: { gate: { overrideWithinHours } }, train: { workers: { waitSeconds: 3 } } })));

const override = (run: WorkflowHandle, asked: unknown): Promise<Override> =>
  run.executeUpdate<Override, [unknown]>(UPDATES.overrideGate, { args: [asked] });

const refused = (update: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(update, (error) => error instanceof WorkflowUpdateFailedError && message.test(String(error.cause?.message)));

const gateOf = async (run: WorkflowHandle): Promise<unknown> =>
  (await run.describe()).typedSearchAttributes.getAll().find(({ key }) => key.name === "RoslinGate")?.value;

async function begin(activities: Partial<PipelineActivities>): Promise<void> {
  await place.pipeline(activities);
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
}

test("a run whose gate is not passed completes, and says that and why latest.json stays; roslin override starts it again with a name", async (t) => {
  const published: (StageInput["override"] | null)[] = [];
  await begin(failing(published));
  const run = await place.start("failing", configOf());
  const result = await run.result();
  assert.deepEqual([result.published, result.reason, published], [false, REASON, [null]]);
  assert.match(outcome(result), /latest\.json STAYS, because loss 1\.2000 times the live model's, at most 1; .* roslin override/);
  assert.equal(await gateOf(run), "failed");

  const lines: string[] = [];
  for (const name of ["log", "error"] as const) t.mock.method(console, name, (line: string) => void lines.push(line));
  assert.equal(await overrideRun(place.client, "failing", ADA), 0);
  const again = place.client.workflow.getHandle("failing");
  const second = (await again.result()) as typeof result;
  assert.deepEqual([second.published, second.reason], [true, null]);
  assert.deepEqual({ ...published[1], at: "" }, { ...ADA, at: "" });
  assert.ok(Math.abs(Date.parse(published[1]!.at!) - Date.now()) < 60_000);
  assert.equal(await gateOf(again), "overridden");
  await assert.rejects(overrideRun(place.client, "failing", ADA), /nothing to override/);
  await assert.rejects(overrideRun(place.client, "no-such-run", ADA), /no run with this id/);
  await Worker.runReplayHistory({ workflowBundle: await bundleWorkflows() }, await again.fetchHistory(), "failing");
});

test("roslin override starts no run again that failed, or that another reason than its gate kept from latest.json", async () => {
  const published: (StageInput["override"] | null)[] = [];
  let trainings = 0;
  const beginTraining: PipelineActivities["beginTraining"] = async () => {
    if (trainings++ === 0) throw new UserError("out of luck");
    return { finished: resultOf("train", ["tuned"]) };
  };
  const moved: PipelineActivities["publish"] = async () =>
    resultOf("publish", ["published"], { latest: false, reason: "it has moved on", gate: { passed: true } });
  await begin(failing(published, { beginTraining, publish: moved }));
  const run = await place.start("broken", configOf());
  await assert.rejects(run.result());
  await assert.rejects(overrideRun(place.client, "broken", ADA), /ended before its model was published.*status=FAILED/);
  assert.equal(trainings, 1);
  assert.equal((await (await place.start("broken", configOf())).result()).published, false);
  await assert.rejects(overrideRun(place.client, "broken", ADA), /another reason than the gate/);
});

test("an override is taken from the start on, once: the same again is the same, another one is refused, and so is one without a name", async () => {
  const published: (StageInput["override"] | null)[] = [];
  let go = false;
  const download: PipelineActivities["download"] = async () => {
    while (!go) await sleep(50);
    return resultOf("download", ["model", "dataset"]);
  };
  await begin(failing(published, { download }));
  const run = await place.start("early", configOf());
  await refused(override(run, { by: " ", reason: "x" }), /needs a name and a reason, and by is wrong/);
  await refused(override(run, { by: "Ada" }), /reason is wrong/);
  await refused(override(run, { ...ADA, reason: "x".repeat(1001) }), /reason is wrong/);
  const first = await override(run, ADA);
  assert.deepEqual(await override(run, ADA), first);
  await refused(override(run, { by: "Bob", reason: "me too" }), /is overridden by Ada .*that stays/);
  go = true;
  assert.equal((await run.result()).published, true);
  assert.deepEqual(published, [first]);
});

test("a run waits for an override as long as it is told, says how, and publishes either way", async () => {
  const published: (StageInput["override"] | null)[] = [];
  await begin(failing(published));
  const run = await place.start("waits", configOf(1));
  let shown = "";
  await until(async () => (shown = (await ask<RunProgress>(run, QUERIES.progress)).pause) !== "");
  assert.match(
    shown,
    /not passed \(loss 1\.2000 .*temporal workflow update execute --workflow-id waits --name overrideGate --input '\{"by"/,
  );
  await run.signal("pause");
  await run.signal("resume");
  await override(run, ADA);
  assert.equal((await run.result()).published, true);

  // two seconds
  const late = await place.start("late", configOf(2 / 3600));
  assert.equal((await late.result()).published, false);
  assert.deepEqual(
    published.map((given) => given?.by ?? null),
    ["Ada", null],
  );
});

test("an override that comes while the model is published has it published again; a gate that was passed needs none", async () => {
  const published: (StageInput["override"] | null)[] = [];
  const usual = failing(published);
  let publishing = false;
  let go = false;
  const publish: PipelineActivities["publish"] = async (input) => {
    publishing = true;
    while (!go) await sleep(50);
    return usual.publish!(input);
  };
  await begin({ ...usual, publish });
  const run = await place.start("meanwhile", configOf());
  await until(async () => publishing);
  await override(run, ADA);
  go = true;
  assert.equal((await run.result()).published, true);
  assert.deepEqual(
    published.map((given) => given?.by ?? null),
    [null, "Ada"],
  );
  await place.clear();

  [publishing, go] = [false, false];
  const { evaluate: _, ...passing } = { ...usual, publish };
  await begin(passing);
  const passed = await place.start("passed", configOf());
  await until(async () => publishing);
  await refused(override(passed, ADA), /was passed: there is nothing to override/);
  go = true;
  await passed.result();
});

test("a run that finds another live model than it was compared with when it publishes is evaluated against that one", async () => {
  const calls: string[] = [];
  let stale = true;
  const evaluate: PipelineActivities["evaluate"] = async () => {
    calls.push("evaluate");
    return resultOf("evaluate", ["report"], { gate: { judged: true, passed: true } });
  };
  const publish: PipelineActivities["publish"] = async () => {
    calls.push("publish");
    if (!stale) return resultOf("publish", ["published"], { latest: true, reason: null });
    stale = false;
    throw new ChangedInputError("latest.json names another model than the one that this one was compared with");
  };
  await begin(failing([], { evaluate, publish }));
  assert.equal((await (await place.start("stale", configOf())).result()).published, true);
  assert.equal(calls.join(" "), "evaluate publish evaluate publish");
});

test("an override counts for the evaluation that it was given for: when publishing has another one made, a person decides anew", async () => {
  const published: (StageInput["override"] | null)[] = [];
  const usual = failing(published);
  let evaluations = 0;
  const evaluate: PipelineActivities["evaluate"] = async (input) => {
    const result = await usual.evaluate!(input);
    return { ...result, outputs: result.outputs.map((output) => ({ ...output, sha256: String(++evaluations).repeat(64) })) };
  };
  let isStale = true;
  const publish: PipelineActivities["publish"] = async (input) => {
    const result = await usual.publish!(input);
    if (!isStale) return result;
    isStale = false;
    throw new ChangedInputError("latest.json names another model than the one that this one was compared with");
  };
  await begin({ ...usual, evaluate, publish });
  const run = await place.start("anew", configOf(1));
  const asks = async (): Promise<boolean> => (await ask<RunProgress>(run, QUERIES.progress)).pause !== "";
  await until(asks);
  await override(run, ADA);
  await until(async () => evaluations === 2 && (await asks()));
  const { currentDetails } = await ask<{ currentDetails: string }>(run, "__temporal_workflow_metadata");
  assert.match(currentDetails, /overridden by Ada .*: the rows were too hard\. The model has been evaluated again .* no longer counts/);
  await override(run, { by: "Bob", reason: "good enough" });
  assert.equal((await run.result()).published, true);
  assert.deepEqual(
    published.map((given) => given?.by ?? null),
    ["Ada", "Bob"],
  );
});
