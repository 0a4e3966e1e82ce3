import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Stage, type StageRequest } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import type { EngineName } from "../../core/config/engines.js";
import { parseRunConfig } from "../../core/config/schema.js";
import { outputNamed, type StageResult } from "../../core/stages/results.js";
import { artifactOf } from "../../infra/disk/files.js";
import { trainLocally } from "../../workers/local-training.js";
import { assertClose, assertSameTensors, readTensors, reference, REFERENCE } from "../core/model/reference.js";
import { loraReference, type LoraReference } from "../core/model/lora/reference.js";
import { places } from "../engines/places.js";
import { job, type Job } from "../workers/tiny.js";
import { pythons } from "./local.js";
import { rankProcesses } from "./processes.js";

/** Adapters by DeepSpeed: PEFT's figures, the ONNX engine's checkpoints, and the same bits after a kill. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");

interface Case extends Job {
  readonly expected: LoraReference;
  train(engine: EngineName, signal?: AbortSignal): Promise<StageResult<"train">>;
  /** the stage's directory with an engine */
  directory(engine: EngineName): string;
}

/** A case of test/reference/lora: its base with the adapter beside it with which PEFT began. */
async function caseOf(t: TestContext, name: string, more: object = {}): Promise<Case> {
  const { directory, expected, settings: lora } = loraReference(name);
  const { rows } = reference(expected.base);
  const made = await job(t, rows, { ...expected.train, method: "lora", lora, ...more });
  const model = join(made.request.root, "base");
  cpSync(expected.dtype === "float32" ? join(REFERENCE, expected.base) : join(directory, "base"), model, { recursive: true });
  cpSync(join(directory, "initial"), model, { recursive: true });
  const inputs = [await artifactOf("model", model), outputNamed(made.request.inputs, "tokens")];
  const requested = (engine: EngineName): StageRequest => {
    const { config, root } = made.request;
    return { root, inputs, config: parseRunConfig({ ...config, train: { ...config.train, engine } }) };
  };
  return {
    ...made,
    expected,
    train: (engine, signal) => trainLocally(places, requested(engine), 2, made.context(signal), RANK),
    directory: (engine) => new Stage(trainDefinition, requested(engine)).directory,
  };
}

/** The tensors of a run's adapter. */
function adapterIn({ outputs }: StageResult<"train">): ReturnType<typeof readTensors> {
  return readTensors(join(fileURLToPath(outputNamed(outputs, "tuned").uri), "adapter_model.safetensors"));
}

/** Compares losses and adapters with PEFT's. */
function assertAsPeft(name: string, { expected }: Case, run: StageResult<"train">): void {
  assertClose(run.metrics.losses!, expected.training_losses, 1e-5);
  assertSameTensors(adapterIn(run), readTensors(join(REFERENCE, "lora", name, "final", "adapter_model.safetensors")), 1e-4);
}

// GPT-NeoX's head has another name in its files than in transformers; another one's is the embedding, and that base is in float16
for (const name of ["llama-stabilized", "gpt-neox-patterns", "gpt-neox-half"])
  test(`20 steps on two ranks give PEFT's losses and adapters: ${name}`, async (t) => {
    const made = await caseOf(t, name);
    assertAsPeft(name, made, await made.train("deepspeed"));
  });

const HANDED = "gptj-list";
const EVERY = { checkpointEverySteps: 6 };

test("dropout takes the same elements in both engines", async (t) => {
  const lora = { rank: 4, alpha: 8, targets: ["q_proj", "v_proj"], dropout: 0.2 };
  const [onnx, deepspeed] = [await caseOf(t, HANDED, { lora }), await caseOf(t, HANDED, { lora })];
  const expected = await onnx.train("onnx");
  const run = await deepspeed.train("deepspeed");
  assertClose(run.metrics.losses!, expected.metrics.losses!, 1e-5);
  assertSameTensors(adapterIn(run), adapterIn(expected), 1e-4);
  assert.throws(() => assertClose(run.metrics.losses!, deepspeed.expected.training_losses, 1e-2), "some were taken");
});

/** Waits until a run with an engine has a checkpoint. */
async function firstCheckpoint(made: Case, engine: EngineName): Promise<void> {
  while (!existsSync(join(made.directory(engine), "commits", "000002.json"))) await sleep(2);
}

test("a rank that is killed changes no bit, and a checkpoint holds adapters alone", async (t) => {
  const undisturbed = await caseOf(t, HANDED, EVERY);
  const expected = await undisturbed.train("deepspeed");
  assertAsPeft(HANDED, undisturbed, expected);
  const made = await caseOf(t, HANDED, EVERY);
  const running = made.train("deepspeed");
  await firstCheckpoint(made, "deepspeed");
  process.kill(pythons()[1]!, "SIGKILL");
  const { metrics, stateDigest } = await running;
  assert.equal(metrics.attempts, 2);
  assert.ok(metrics.resumedAtStep! >= 6);
  assert.deepEqual(metrics.losses, expected.metrics.losses);
  assert.equal(stateDigest, expected.stateDigest);
  assert.deepEqual(rankProcesses(), []);
  const left = readdirSync(made.directory("deepspeed"), { recursive: true, encoding: "utf8" });
  assert.deepEqual(
    left.filter((path) => /g\d+\.adapter/.test(path)),
    [],
  );
  const shard = left.find((path) => /^shards\/.*\.safetensors$/.test(path))!;
  const names = [...readTensors(join(made.directory("deepspeed"), shard)).keys()];
  assert.ok(names.length > 0 && names.every((name) => /\.lora_[AB]\.weight(\.exp_avg(_sq)?)?$/.test(name)), names.join());
});

/** A case that an engine has begun and not finished. */
async function begun(t: TestContext, engine: EngineName): Promise<Case> {
  for (let tries = 0; tries < 5; tries++) {
    const made = await caseOf(t, HANDED, EVERY);
    const stop = new AbortController();
    const running = made.train(engine, stop.signal).then(
      () => "finished",
      () => "stopped",
    );
    await firstCheckpoint(made, engine);
    stop.abort(new Error("enough with this engine"));
    if ((await running) === "stopped") return made;
  }
  throw new Error("it was never seen under way");
}

for (const [from, to] of [
  ["onnx", "deepspeed"],
  ["deepspeed", "onnx"],
] as const)
  test(`adapters that ${from} began to train are finished by ${to}, and are PEFT's`, async (t) => {
    const made = await begun(t, from);
    const run = await made.train(to);
    assert.ok(run.metrics.resumedAtStep! >= 6);
    assert.deepEqual(
      run.metrics.computed!.map(({ by }) => by.engine),
      [from, to],
    );
    assertAsPeft(HANDED, made, run);
  });
