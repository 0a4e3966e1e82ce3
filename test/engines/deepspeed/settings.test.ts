import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { beginTraining } from "../../../activities/train/run/begin.js";
import { ENGINE_VERSIONS } from "../../../core/config/engines.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { deepSpeedEngine } from "../../../engines/deepspeed/deepspeed-engine.js";
import { needEnvironment } from "../../../engines/deepspeed/environment.js";
import { readModelConfig } from "../../../infra/weights/read-model-config.js";
import { CHECKOUT } from "../../../workers/environment.js";
import { trainDeps } from "../../../workers/train-deps.js";
import { REFERENCE } from "../../core/model/gptj/reference.js";
import { job, madeRows } from "../../workers/tiny.js";

test("the engine's version names the locked versions of what decides its bits", () => {
  const list = readFileSync(join(CHECKOUT, "engines", "deepspeed", "requirements.txt"), "utf8");
  const locked = ["torch", "deepspeed", "transformers"].map((name) => `${name} ${new RegExp(`^${name}==(.*)$`, "m").exec(list)![1]}`);
  assert.equal(ENGINE_VERSIONS.deepspeed.split(", ").slice(1).join(), locked.join());
});

test("the ONNX engine refuses bf16 by name", () => {
  assert.throws(() => parseRunConfig({ train: { precision: "bf16" } }), /train\.precision: the engine onnx computes in fp32/);
  assert.equal(parseRunConfig({ train: { precision: "bf16", engine: "deepspeed" } }).train.precision, "bf16");
});

test("where DeepSpeed is not set up, training with it says how that is done", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "home-"));
  t.after(() => rm(home, { recursive: true }));
  const engines = { ...trainDeps.engines, deepspeed: deepSpeedEngine(() => needEnvironment(CHECKOUT, home)) };
  const { request, context } = await job(t, madeRows(3), { engine: "deepspeed" });
  await assert.rejects(
    beginTraining({ ...trainDeps, engines }, request, { workers: 1 }, context()),
    (error: Error) => error instanceof UserError && /roslin setup --deepspeed/.test(error.message),
  );
});

test("memory is stated by rank: a process, its part of the state, and a pass", () => {
  const { needs } = trainDeps.engines.deepspeed;
  const model = readModelConfig(join(REFERENCE, "gptj-tiny"));
  const { train } = parseRunConfig({ train: { engine: "deepspeed", shards: 8 } });
  const [one, two] = [1, 2].map((ranks) => needs(model, train, { tokens: 10, positions: 10, shardTokens: 10 }, ranks).memoryBytes);
  assert.ok(two! - one! > 1e9 && two! - one! < 1.1e9, "a process more");
  assert.ok(needs(model, train, null).memoryBytes > 8e9, "as many ranks as shards, where their number is not known");
  const bf16 = needs(model, { ...train, precision: "bf16" }, null);
  const [single, eighth] = [1, 8].map((ranks) => bf16.deviceBytes!(ranks));
  assert.ok(Math.abs(single! - eighth! - (18 * bf16.parameters * 7) / 8) < 1, "of a GPU: its part of the state, and the same for all");
  assert.ok(bf16.memoryBytes > 8e9 && bf16.parameters === needs(model, train, null).parameters);
});
