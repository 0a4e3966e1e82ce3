import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { beginTraining } from "../../../activities/train/run/begin.js";
import { ENGINE_VERSIONS } from "../../../core/config/engines.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { LORA_DEFAULTS } from "../../../core/config/lora.js";
import { modelOf } from "../../../core/model/families.js";
import { countOf, trainedParameters } from "../../../core/model/family.js";
import { planAdapter, withAdapter } from "../../../core/model/lora/adapter.js";
import { UserError } from "../../../core/errors.js";
import { deepSpeedEngine } from "../../../engines/deepspeed/deepspeed-engine.js";
import { needEnvironment } from "../../../engines/deepspeed/environment.js";
import { makeSwap, rankSwap, swapOf } from "../../../engines/deepspeed/swap.js";
import type { Needs, TrainSettings } from "../../../engines/engine.js";
import { readModelConfig } from "../../../infra/weights/read-model-config.js";
import { CHECKOUT } from "../../../workers/environment.js";
import { trainDeps } from "../../../workers/train-deps.js";
import { REFERENCE } from "../../core/model/reference.js";
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

test("the ONNX engine refuses fp16 and offload to the CPU by name; a directory is for NVMe, and absolute", () => {
  const refused = (train: object, message: RegExp): void => assert.throws(() => parseRunConfig({ train }), message);
  refused({ precision: "fp16" }, /train\.precision: the engine onnx computes in fp32/);
  refused({ offload: { optimizer: "cpu" } }, /train\.offload: the engine onnx keeps all in the memory of the CPU anyway/);
  assert.equal(parseRunConfig({ train: { offload: { parameters: "nvme" } } }).train.offload.parameters, "nvme");
  refused(
    { engine: "deepspeed", offload: { optimizer: "cpu", directory: "/fast" } },
    /train\.offload\.directory: is used with "nvme" only/,
  );
  refused(
    { engine: "deepspeed", offload: { optimizer: "nvme", directory: "fast" } },
    /train\.offload\.directory: must be an absolute path/,
  );
  refused({ engine: "deepspeed", offload: { optimizer: "gpu" } }, /train\.offload\.optimizer/);
  const { train } = parseRunConfig({ train: { engine: "deepspeed", offload: { optimizer: "nvme", directory: "/fast" } } });
  assert.deepEqual(train.offload, { optimizer: "nvme", parameters: "none", directory: "/fast" });
});

const gptj6b = modelOf(
  {
    model_type: "gptj",
    n_embd: 4096,
    n_head: 16,
    n_layer: 28,
    n_positions: 2048,
    rotary_dim: 64,
    vocab_size: 50400,
    tie_word_embeddings: false,
  },
  "config.json",
);

/** What GPT-J 6B needs, trained as Dolly was. */
const dolly = (settings: object): Needs => {
  const { train } = parseRunConfig({ train: { engine: "deepspeed", precision: "bf16", ...settings } });
  return trainDeps.engines.deepspeed.needs(gptj6b, train, null);
};

test("with GPUs the host holds a process for each rank, a checkpoint's copy, and what is offloaded", () => {
  const plain = dolly({});
  const billions = (bytes: number): number => Math.round(bytes / 1e9);
  // 12 bytes a parameter are copied to be written
  assert.equal(billions(plain.hostBytes!), 93);
  assert.ok(plain.memoryBytes > 18 * plain.parameters, "on CPUs the state is in the host's memory");
  const [cpu, both, disk] = [
    dolly({ offload: { optimizer: "cpu" } }),
    dolly({ offload: { optimizer: "cpu", parameters: "cpu" } }),
    dolly({ offload: { optimizer: "nvme", parameters: "nvme" } }),
  ] as const;
  // weights, moments, gradients, those that AdamW takes, and what it allocates for a sub-group
  assert.equal(billions(cpu.hostBytes! - plain.hostBytes!), billions(20 * plain.parameters + 8 * 4 * (2e7 + (50_400 * 4096) / 8)));
  assert.equal(billions(both.hostBytes! - cpu.hostBytes!), billions(2 * plain.parameters));
  assert.ok(disk.hostBytes! < cpu.hostBytes!);
  assert.equal(billions(disk.diskBytes - plain.diskBytes), billions(18 * plain.parameters));
  const onFastDisk = dolly({ offload: { optimizer: "nvme", parameters: "nvme", directory: "/fast" } });
  assert.equal(onFastDisk.diskBytes, plain.diskBytes);
  // Dolly's GPUs: eight of 40 GB as they are; four of 24 GB hold nothing but a pass, if all is offloaded
  const device = (needs: Needs, ranks: number): number => needs.deviceBytes!(ranks) / 1e9;
  assert.ok(device(plain, 8) < 40 && device(plain, 4) > 24);
  assert.ok(device(cpu, 4) < 24 && device(both, 4) < device(cpu, 4));
  assert.equal(device(both, 1), device(both, 8));
});

test("of a frozen base there are the weights that it is computed with, and of adapters the state", () => {
  const adapters = planAdapter(gptj6b, LORA_DEFAULTS);
  const model = withAdapter(gptj6b, adapters, { typeOf: () => "float16", dropout: false });
  const needs = (settings: object): Needs => {
    const { train } = parseRunConfig({ train: { engine: "deepspeed", method: "lora", precision: "bf16", ...settings } });
    return trainDeps.engines.deepspeed.needs(model, train, null);
  };
  const plain = needs({});
  const base = plain.parameters - plain.trained!;
  assert.equal(base, dolly({}).parameters);
  assert.equal(plain.trained, countOf(trainedParameters(model.parameters)));
  // what ranks share out: 2 bytes of a weight of the base, 18 of an adapter's
  const shared = (each: Needs): number => ((each.deviceBytes!(1) - each.deviceBytes!(8)) * 8) / 7;
  assert.ok(Math.abs(shared(plain) - 2 * base - 18 * plain.trained) < 1e3);
  assert.ok(plain.diskBytes < 2e9, "checkpoints hold adapters alone");
  assert.ok(dolly({}).hostBytes! - plain.hostBytes! > 12 * base * 0.99, "and so does the copy of one");
  assert.ok(Math.abs(needs({ offload: { parameters: "cpu" } }).hostBytes! - plain.hostBytes! - 2 * plain.parameters) < 1e3);
});

test("the GPU, and where AdamW is computed, are part of the fingerprint, because a GPU rounds in ways of its own; of adapters PEFT, too", async () => {
  const versions = { python: "3", torch: "2", deepspeed: "0", transformers: "5", peft: "0", cuda: null, nccl: null };
  const engine = deepSpeedEngine(() => Promise.resolve({ python: "", versions }));
  const libraries = (offload: object, method = "full"): Promise<object> =>
    engine.libraries(2, parseRunConfig({ train: { engine: "deepspeed", offload, method } }).train);
  assert.ok(!("adamw" in (await libraries({}))));
  assert.deepEqual(await libraries({ parameters: "nvme" }), await libraries({}));
  assert.deepEqual(await libraries({ optimizer: "nvme" }), { ...(await libraries({})), adamw: "cpu" });
  assert.deepEqual(await libraries({}, "lora"), { ...(await libraries({})), peft: "0" });
  const onGpu = deepSpeedEngine(() => Promise.resolve({ python: "", versions }), { device: "NVIDIA A100" });
  const { train } = parseRunConfig({ train: { engine: "deepspeed" } });
  assert.deepEqual(await onGpu.libraries(2, train), { ...(await libraries({})), device: "NVIDIA A100" });
});

test("a rank's files for NVMe lie below a name that a later attempt finds, on the disk that is configured", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "swap-"));
  t.after(() => rm(directory, { recursive: true }));
  const [stage, fast] = ["stage", "fast"].map((name) => join(directory, name)) as [string, string];
  mkdirSync(stage);
  const settings = (place: string | null): Pick<TrainSettings, "offload"> => ({
    offload: { optimizer: "nvme", parameters: "none", directory: place },
  });
  for (const [generation, place] of [
    [1, null],
    [2, fast],
  ] as const) {
    const swap = swapOf(settings(place), stage, `roslin-a-g${generation}`);
    for (const rank of [0, 1]) {
      makeSwap(swap, rank, 1e3);
      writeFileSync(join(rankSwap(swap, rank), "0.swp"), "");
    }
  }
  assert.ok(existsSync(join(fast, "roslin-a-g2.swap", "rank1", "0.swp")));
  trainDeps.engines.deepspeed.clear(trainDeps.machine, stage, "roslin-a-", 2);
  assert.deepEqual([readdirSync(stage), readdirSync(fast)], [["roslin-a-g2.swap"], ["roslin-a-g2.swap"]]);
  trainDeps.engines.deepspeed.clear(trainDeps.machine, stage, "roslin-a-", Infinity);
  assert.deepEqual([readdirSync(stage), readdirSync(fast)], [[], []]);
  writeFileSync(join(directory, "file"), "");
  const blocked = swapOf(settings(join(directory, "file", "below")), stage, "roslin-a-g3");
  const full = swapOf(settings(fast), stage, "roslin-a-g4");
  assert.throws(() => makeSwap(full, 0, 1e18), { name: "UserError", message: /too little room.*need=.*have=/ });
  assert.throws(() => makeSwap(blocked, 0, 1e3), { name: "UserError", message: /set train\.offload\.directory to another one.*file/ });
});
