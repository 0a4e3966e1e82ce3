import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { evaluate } from "../../../activities/evaluate/evaluate.js";
import type { Evaluation } from "../../../activities/evaluate/evaluation.js";
import type { StageContext, StageRequest } from "../../../activities/common/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import type { TokenRow, TokenSplit } from "../../../core/rows/token-rows.js";
import { outputNamed, type Progress } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { openInference } from "../../../engines/onnx/inference/open-inference.js";
import type { Tokens } from "../../../infra/dataset/tokens.js";
import { REFERENCE, reference } from "../../core/model/reference.js";
import { noPlaces } from "./made-models.js";
import { evaluateDefinition } from "../../../activities/evaluate/definition.js";
import type { EvaluateDependencies } from "../../../activities/evaluate/deps.js";
import { NO_LIVE } from "./made-models.js";

const { rows, expected } = reference("gptj-tiny");
const root = mkdtempSync(join(tmpdir(), "roslin-evaluate-"));
after(() => rmSync(root, { recursive: true }));

/** Base: PyTorch's small model. Tuned: the same after PyTorch's 20 steps on these very rows. */
const base = join(REFERENCE, "gptj-tiny");
const tuned = join(root, "tuned");
mkdirSync(tuned);
copyFileSync(join(base, "config.json"), join(tuned, "config.json"));
copyFileSync(join(base, "expected-after-20-steps.safetensors"), join(tuned, "model.safetensors"));

const tokens = join(root, "tokens");
mkdirSync(tokens);
const inputs = [await artifactOf("model", base), await artifactOf("tuned", tuned), await artifactOf("tokens", tokens)];
const request = (directory: string, settings: object = {}): StageRequest => ({
  config: parseRunConfig({ evaluate: { generateSamples: 2, ...settings } }),
  inputs,
  root: join(root, directory),
});

function dependencies(held: readonly TokenRow[]): EvaluateDependencies & { readonly scored: number[] } {
  const split: TokenSplit = { count: held.length, row: (index) => held[index]! };
  const scored: number[] = [];
  return {
    places: noPlaces,
    live: NO_LIVE,
    openTokens: () => Promise.resolve({ test: split } as unknown as Tokens),
    async openInference(directory, signal) {
      const model = await openInference(directory, signal);
      return { ...model, score: (batch) => (scored.push(...batch.map((row) => row.source)), model.score(batch)) };
    },
    scored,
  };
}

function context(onProgress: (progress: Progress) => void = () => undefined): StageContext {
  return { signal: new AbortController().signal, progress: onProgress };
}

const reportOf = (result: Awaited<ReturnType<typeof evaluate>>): Evaluation =>
  JSON.parse(readFileSync(fileURLToPath(outputNamed(result.outputs, "report").uri), "utf8")) as Evaluation;

test("the base's perplexity is exp of PyTorch's loss, and the tuned model beats it", async () => {
  const result = await evaluate(dependencies(rows), request("whole"), context());
  const { perplexity, gate, samples, heldOut } = reportOf(result);
  assert.ok(Math.abs(Math.log(perplexity.base!) - expected.loss) < 1e-5 * expected.loss);
  assert.ok(perplexity.tuned! < perplexity.base! / 10);
  assert.deepEqual(gate, { judged: true, passed: true, ratio: perplexity.tuned! / perplexity.base!, maxPerplexityRatio: 1 });
  assert.equal(heldOut.rows, rows.length);
  assert.deepEqual(result.metrics["perplexity"], perplexity);
  assert.equal(samples.length, 2);
  assert.deepEqual(samples[0]!.prompt, [...rows[0]!.inputIds.subarray(0, 10)]);
  assert.deepEqual(samples[0]!.expected, [...rows[0]!.inputIds.subarray(10)]);
  assert.equal(samples[0]!.base.length, 128 - 10 + 1);
  // trained on the row itself, the model says some of it
  const said = samples[0]!.tuned as number[];
  assert.notDeepEqual(said, samples[0]!.base);
});

test("a stopped evaluation goes on with what is left, and comes to the same report", async () => {
  const many = Array.from({ length: 40 }, (_, source): TokenRow => ({ ...rows[source % rows.length]!, source }));
  const undisturbed = await evaluate(dependencies(many), request("undisturbed"), context());
  const first = dependencies(many);
  const stop = new AbortController();
  const reason = new Error("stopped by the test");
  const progress = ({ done }: Progress): void => {
    if (done >= 4) stop.abort(reason);
  };
  await assert.rejects(evaluate(first, request("stopped"), { signal: stop.signal, progress }), reason);
  const second = dependencies(many);
  const resumed = await evaluate(second, request("stopped"), context());
  assert.equal(resumed.outputs[0]!.sha256, undisturbed.outputs[0]!.sha256);
  assert.equal(first.scored.length, many.length);
  assert.equal(second.scored.length, many.length);
  const third = dependencies(many);
  assert.equal((await evaluate(third, request("stopped"), context())).reused, true);
  assert.equal(third.scored.length, 0);
});

test("without held-out rows nothing is judged, and the gate stands open", async () => {
  const result = await evaluate(dependencies([]), request("empty"), context());
  assert.deepEqual(reportOf(result), {
    perplexity: { base: null, tuned: null },
    gate: { judged: false, passed: true, ratio: null, maxPerplexityRatio: 1 },
    heldOut: { rows: 0, labels: 0 },
    figures: ["perplexity", "loss"].map((metric) => ({
      metric,
      better: "lower",
      items: 0,
      base: null,
      tuned: null,
      ratio: { base: null },
    })),
    samples: [],
  });
});

test("a model that got worse than the gate allows doesn't pass", async () => {
  const result = await evaluate(dependencies(rows), request("gate", { gate: { maxPerplexityRatio: 0.001 } }), context());
  assert.equal(reportOf(result).gate.passed, false);
});

test("reports the very bytes that this version of the stage stands for", async () => {
  // a model that is always right, for real ones differ in their last bits from one kind of machine to another
  const made: EvaluateDependencies = {
    ...dependencies(rows),
    openInference: () =>
      Promise.resolve({
        score: (batch) => Promise.resolve({ nll: 0, labels: 32 * batch.length, rows: batch.map(() => 0) }),
        generate: async function* () {
          yield* await Promise.resolve([1, 2, 3].map((token) => ({ sequence: 0, token })));
        },
        close: () => Promise.resolve(),
      }),
  };
  const result = await evaluate(made, request("pinned"), context());
  // another digest? the report has changed: raise the definition's version, so that finished runs are evaluated anew
  assert.deepEqual(
    [evaluateDefinition.version, result.outputs[0]!.sha256],
    [5, "4cd9390aa4500fb28c9d7c279c6e8316e84e5a147f857584bea8e74ebbb45027"],
  );
});
