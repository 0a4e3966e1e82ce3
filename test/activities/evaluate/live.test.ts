import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { evaluate } from "../../../activities/evaluate/evaluate.js";
import type { EvaluateDependencies } from "../../../activities/evaluate/deps.js";
import { figureNamed, type Evaluation } from "../../../activities/evaluate/evaluation.js";
import { publish } from "../../../activities/publish/publish.js";
import type { StageContext, StageRequest } from "../../../activities/common/stage.js";
import { earlierResults } from "../../../cli/shell/stage-inputs.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { ChangedInputError, UserError } from "../../../core/errors.js";
import { parseLatest } from "../../../core/format/latest.js";
import { parseManifest, type Manifest } from "../../../core/format/manifest.js";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import type { Override } from "../../../core/stages/override.js";
import { outputNamed, type Progress, type StageResult } from "../../../core/stages/results.js";
import { openInference } from "../../../engines/onnx/inference/open-inference.js";
import { artifactOf, sha256File } from "../../../infra/disk/files.js";
import type { Tokens } from "../../../infra/dataset/tokens.js";
import { evaluateDeps } from "../../../workers/artifact-deps.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { REFERENCE, reference } from "../../core/model/reference.js";
import { byteTokenizer } from "../preprocess/helpers.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { finishedRun, publishDependencies } from "../publish/run.js";

/** The gate against the model that latest.json names, with real models and a real target. */

const root = mkdtempSync(join(tmpdir(), "roslin-live-"));
after(() => rmSync(root, { recursive: true }));
const { rows } = reference("gptj-tiny");
const HELD: readonly TokenRow[] = Array.from({ length: 40 }, (_, source) => ({ ...rows[source % rows.length]!, source }));
const NOT_WORSE = [{ metric: "perplexity", against: "live", atMost: 1 }];
const ADA: Override = { by: "Ada", reason: "good enough", at: "2026-11-30T10:00:00.000Z" };

let places = 0;
const newPlace = (): string => join(root, `place-${places++}`);
const newTarget = (): string => pathToFileURL(join(newPlace(), "target")).href;
const context = (progress: StageContext["progress"] = () => undefined): StageContext => ({
  signal: new AbortController().signal,
  progress,
});

/** Real evaluation on the held-out rows; `opened` has the directories of the models that were opened. */
function dependencies(opened: string[] = []): EvaluateDependencies {
  return {
    ...evaluateDeps(readEnvironment({ ROSLIN_HOME: join(root, "home") }, CHECKOUT)),
    openTokens: () => Promise.resolve({ test: { count: HELD.length, row: (index: number) => HELD[index]! } } as unknown as Tokens),
    openInference: (directory, signal) => {
      opened.push(directory);
      return openInference(directory, signal);
    },
  };
}

/** A trained run, whose tuned model is as good as any other's, or `worse`: as it was before training. */
async function trained(target: string, rules: readonly object[], mark: string, worse = false, place = newPlace()): Promise<StageRequest> {
  const request = await finishedRun(place, target, true, { "mark.txt": Buffer.from(mark) });
  const [model, dataset, tokens] = request.inputs;
  if (worse) copyFileSync(join(REFERENCE, "gptj-tiny", "model.safetensors"), join(place, "tuned", "model.safetensors"));
  const tuned = await artifactOf("tuned", join(place, "tuned"));
  const config = parseRunConfig({
    ...request.config,
    evaluate: { generateSamples: 0, gate: { maxPerplexityRatio: 2, rules: [...rules] } },
  });
  return { config, inputs: [model!, dataset!, tokens!, tuned], root: request.root };
}

const reportOf = ({ outputs }: StageResult): Evaluation =>
  JSON.parse(readFileSync(fileURLToPath(outputNamed(outputs, "report").uri), "utf8")) as Evaluation;
const withReport = (request: StageRequest, evaluated: StageResult): StageRequest => ({
  ...request,
  inputs: [...request.inputs, ...evaluated.outputs],
});

interface Done {
  readonly evaluated: StageResult<"evaluate">;
  readonly published: StageResult<"publish">;
  readonly evaluation: Evaluation;
}

async function finish(request: StageRequest, override?: Override): Promise<Done> {
  const evaluated = await evaluate(dependencies(), request, context());
  const given = { ...withReport(request, evaluated), ...(override && { override }) };
  return { evaluated, published: await publish(publishDependencies(), given, context()), evaluation: reportOf(evaluated) };
}

const latestOf = (target: string): string => readFileSync(join(fileURLToPath(target), "latest.json"), "utf8");
const manifestOf = ({ published }: Done): Manifest => {
  const path = join(fileURLToPath(outputNamed(published.outputs, "published").uri), "manifest.json");
  return parseManifest(readFileSync(path, "utf8"), path);
};
const nameOf = ({ published }: Done): string => String(published.metrics.version);

test("a rule against a live model that is not there, or cannot be used, is named before a model is opened", async () => {
  const target = newTarget();
  const request = await trained(target, NOT_WORSE, "a");
  const opened: string[] = [];
  const refused = (message: RegExp): Promise<void> =>
    assert.rejects(
      evaluate(dependencies(opened), request, context()),
      (error) => error instanceof UserError && message.test(error.message),
    );
  await refused(/no latest\.json names one at the target: publish once without the rules/);
  const first = await finish(await trained(target, [], "a"));
  const at = fileURLToPath(target);
  const manifest = join(at, nameOf(first), "manifest.json");
  const [pointer, text] = [latestOf(target), readFileSync(manifest, "utf8")];
  writeFileSync(manifest, `${text} `);
  await refused(/the one at the target cannot be used: a manifest is not the one that latest\.json names/);
  rmSync(manifest);
  await refused(/cannot be used: the model that latest\.json names has no manifest/);
  writeFileSync(manifest, text);
  writeFileSync(join(at, "latest.json"), "{");
  await refused(/cannot be used: latest\.json is not JSON/);
  writeFileSync(join(at, "latest.json"), pointer);
  assert.deepEqual(opened, []);
  // its weights are looked at when they are needed
  const weights = join(at, nameOf(first), "model.safetensors");
  const bytes = readFileSync(weights);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(weights, bytes);
  const other = await trained(target, NOT_WORSE, "b");
  await assert.rejects(evaluate(dependencies(), other, context()), /a published file is not what its manifest says/);
});

test("a metric that the run does not measure is named with the one that was meant, before a model is opened", async () => {
  const ruled = (metric: string): Promise<StageRequest> => trained(newTarget(), [{ metric, against: "base", atMost: 1 }], "a");
  await assert.rejects(
    evaluate(dependencies(), await ruled("perplexty"), context()),
    /rules\.0 names a metric .*did you mean perplexity\? .*got=perplexty, expected=perplexity loss /,
  );
  await assert.rejects(evaluate(dependencies(), await ruled("perplexity.upTo2048"), context()), /does not measure/);
});

test("the live model scores the same rows; a run that is repeated is reused whole, elsewhere too, and changes nothing", async () => {
  const target = newTarget();
  const first = await finish(await trained(target, [], "a"));
  assert.equal("live" in first.evaluation, false);
  const request = await trained(target, NOT_WORSE, "b");
  const second = await finish(request);
  const { gate, live } = second.evaluation;
  const figure = figureNamed(second.evaluation, "perplexity")!;
  // other files, the same weights
  assert.equal(figure.live, figure.tuned);
  assert.deepEqual(
    gate.rules!.map(({ ratio, interval, judged, passed }) => ({ ratio, interval, judged, passed })),
    [{ ratio: 1, interval: [1, 1], judged: true, passed: true }],
  );
  const manifest = await sha256File(join(fileURLToPath(target), nameOf(first), "manifest.json"));
  assert.deepEqual(live, { uri: nameOf(first), manifest });
  assert.equal(existsSync(join(dirname(fileURLToPath(second.evaluated.outputs[0]!.uri)), "live")), false);
  assert.deepEqual([second.published.metrics.latest, second.published.metrics.reason], [true, null]);
  assert.deepEqual(manifestOf(second).gate, { judged: true, passed: true });

  const before = latestOf(target);
  const opened: string[] = [];
  const repeated = await evaluate(dependencies(opened), request, context());
  assert.equal(repeated.reused, true);
  assert.equal((await publish(publishDependencies(), withReport(request, repeated), context())).reused, true);
  const elsewhere = await finish(await trained(target, NOT_WORSE, "b"));
  assert.equal(elsewhere.evaluated.outputs[0]!.sha256, second.evaluated.outputs[0]!.sha256);
  assert.deepEqual([nameOf(elsewhere), elsewhere.published.metrics.latest], [nameOf(second), true]);
  assert.deepEqual([latestOf(target), opened], [before, []]);
  // publishing as a stage of its own finds the evaluation
  const [, , , found] = await earlierResults("publish", request.config, request.root);
  assert.deepEqual(found!.outputs, second.evaluated.outputs);
});

test("a worse model is published beside the live one, marked; an override moves latest.json, is kept, and stays when the run is repeated", async () => {
  const target = newTarget();
  await finish(await trained(target, [], "a"));
  const before = latestOf(target);
  const request = await trained(target, NOT_WORSE, "b", true);
  const failed = await finish(request);
  assert.equal(latestOf(target), before);
  const { latest, reason } = failed.published.metrics;
  assert.equal(latest, false);
  assert.match(reason!, /^the gate was not passed \(perplexity \d+\.\d{4} \(.*\) times the live model's, at most 1\)$/);
  const { gate } = manifestOf(failed);
  assert.deepEqual({ ...gate, reason: "" }, { judged: true, passed: false, reason: "" });
  const card = (): string => readFileSync(join(fileURLToPath(target), nameOf(failed), "README.md"), "utf8");
  assert.match(card(), /\| gate \| not passed: perplexity ratio 1\.0000, at most 2; perplexity /);

  const overridden = await finish(request, ADA);
  assert.equal(nameOf(overridden), nameOf(failed));
  assert.deepEqual([overridden.published.metrics.latest, overridden.published.metrics.override], [true, ADA]);
  assert.deepEqual(manifestOf(overridden).gate, { ...gate, override: ADA });
  assert.match(card(), /\| gate \| not passed, and overridden: perplexity ratio .*; overridden by Ada on 2026-11-30: good enough \|/);
  assert.ok((overridden.published.metrics.bytesSent ?? Infinity) < 100_000);
  const moved = latestOf(target);
  assert.equal(parseLatest(moved, "").name, nameOf(failed));

  // neither the same run without it nor one with another name changes that, here or elsewhere
  for (const again of [
    await finish(request),
    await finish(await trained(target, NOT_WORSE, "b", true)),
    await finish(request, { by: "Bob", reason: "me too" }),
  ]) {
    assert.deepEqual([again.published.metrics.latest, again.published.metrics.override], [true, ADA]);
    assert.equal(latestOf(target), moved);
  }
});

test("latest.json does not move on a comparison with a model that it names no more; evaluated again, the run is compared with that one", async () => {
  const target = newTarget();
  await finish(await trained(target, [], "a"));
  const request = await trained(target, NOT_WORSE, "b");
  const evaluated = await evaluate(dependencies(), request, context());
  const between = await finish(await trained(target, [], "c"));
  const before = latestOf(target);
  await assert.rejects(
    publish(publishDependencies(), withReport(request, evaluated), context()),
    (error) => error instanceof ChangedInputError && /another model than the one that this one was compared with/.test(error.message),
  );
  assert.equal(latestOf(target), before);
  // base and tuned model have scored these rows
  const opened: string[] = [];
  const anew = await evaluate(dependencies(opened), request, context());
  assert.deepEqual(
    opened.map((directory) => basename(directory)),
    ["live"],
  );
  const again = await finish(request);
  assert.equal(again.evaluated.outputs[0]!.sha256, anew.outputs[0]!.sha256);
  assert.equal(again.evaluation.live!.uri, nameOf(between));
  assert.equal(again.published.metrics.latest, true);
  // a model that the configuration names may be compared with whatever latest.json names
  const pinned = await trained(target, NOT_WORSE, "d");
  const live = reportOf(evaluated).live!;
  const config = parseRunConfig({ ...pinned.config, evaluate: { ...pinned.config.evaluate, live } });
  const done = await finish({ ...pinned, config });
  assert.deepEqual([done.evaluation.live, done.published.metrics.latest], [live, true]);
});

test("killed while the live model is scored, an evaluation goes on with what is left, and comes to the same report", async () => {
  const target = newTarget();
  await finish(await trained(target, [], "a"));
  const undisturbed = await evaluate(dependencies(), await trained(target, NOT_WORSE, "b"), context());
  const request = await trained(target, NOT_WORSE, "b");
  const stop = new AbortController();
  const killed = new Error("killed by the test");
  let scored = 0;
  const progress = ({ note }: Progress): void => {
    if (note === "perplexity of the live model" && ++scored === 2) stop.abort(killed);
  };
  await assert.rejects(evaluate(dependencies(), request, { signal: stop.signal, progress }), killed);
  const opened: string[] = [];
  const left: string[] = [];
  const resumed = await evaluate(
    dependencies(opened),
    request,
    context(({ note }) => void left.push(note!)),
  );
  assert.equal(resumed.outputs[0]!.sha256, undisturbed.outputs[0]!.sha256);
  assert.deepEqual([opened.length, left.filter((note) => note.startsWith("perplexity of")).length], [1, 2]);
});

test("a live model with another tokenizer is refused before the others are scored", async () => {
  const target = newTarget();
  await finish(await trained(target, [], "a"));
  const place = newPlace();
  const request = await trained(target, NOT_WORSE, "b", false, place);
  writeFileSync(join(place, "base", "tokenizer.json"), JSON.stringify(byteTokenizer));
  const [, ...others] = request.inputs;
  const inputs = [await artifactOf("model", join(place, "base")), ...others];
  const opened: string[] = [];
  await assert.rejects(
    evaluate(dependencies(opened), { ...request, inputs }, context()),
    /the live model has another tokenizer than this run's/,
  );
  assert.deepEqual(opened, []);
});

test("a live model with fewer positions than a row may have tokens is refused before the others are scored", async () => {
  const target = newTarget();
  await finish(await trained(target, [], "a"));
  const place = newPlace();
  const request = await trained(target, NOT_WORSE, "b", false, place);
  const path = join(place, "base", "config.json");
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), n_positions: 200 }));
  const [, ...others] = request.inputs;
  const longer = { ...request, inputs: [await artifactOf("model", join(place, "base")), ...others] };
  const opened: string[] = [];
  await assert.rejects(evaluate(dependencies(opened), longer, context()), /fewer positions .*expected=200, got=128/);
  assert.deepEqual(opened, []);
  const cut = parseRunConfig({ ...longer.config, preprocess: { ...longer.config.preprocess, maxLength: 128 } });
  await evaluate(dependencies(opened), { ...longer, config: cut }, context());
});

test("a model that a published one was compared with, and that is gone, is named when the rules change", async () => {
  const target = newTarget();
  const first = await finish(await trained(target, [], "a"));
  const request = await trained(target, NOT_WORSE, "b");
  await finish(request);
  rmSync(join(fileURLToPath(target), nameOf(first)), { recursive: true });
  const rules = [{ ...NOT_WORSE[0], atMost: 1.5 }];
  const config = parseRunConfig({ ...request.config, evaluate: { ...request.config.evaluate, gate: { rules } } });
  await assert.rejects(
    evaluate(dependencies(), { ...request, config, root: newPlace() }, context()),
    new RegExp(`compared with as the live one is gone: bring it back, name another one in evaluate\\.live.*${nameOf(first)}`),
  );
});

test("in a bucket the live model is found, fetched and named by its address", async () => {
  const server = await startTestS3();
  try {
    const { endpoint, credentials } = server.settings;
    const variables = {
      ROSLIN_HOME: join(root, "home"),
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: credentials!.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials!.secretAccessKey,
    };
    const target = "s3://roslin/live";
    const { live } = evaluateDeps(readEnvironment(variables, CHECKOUT));
    const run = async (mark: string, rules: readonly object[]): Promise<Done> => {
      const request = await trained(target, rules, mark);
      const evaluated = await evaluate({ ...dependencies(), live }, request, context());
      const published = await publish(publishDependencies(server.settings), withReport(request, evaluated), context());
      return { evaluated, published, evaluation: reportOf(evaluated) };
    };
    const first = await run("a", []);
    const second = await run("b", NOT_WORSE);
    assert.equal(second.evaluation.live!.uri, `${target}/${nameOf(first)}`);
    assert.deepEqual([figureNamed(second.evaluation, "loss")!.ratio.live, second.published.metrics.latest], [1, true]);
  } finally {
    await server.stop();
  }
});
