import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { forecast } from "../../../activities/forecast/forecast.js";
import { plan, type PlanDependencies } from "../../../activities/plan/plan-run.js";
import { checkReach } from "../../../activities/plan/shared-run.js";
import { parseRunConfig, type RunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { createBuckets } from "../../../infra/sources/bucket.js";
import { createHub } from "../../../infra/sources/hub/hub.js";
import { fetchPublished, findPublished } from "../../../infra/sources/published.js";
import type { GpuWorker, Plan } from "../../../workflows/contract.js";

const GB = 1e9;
let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "roslin-shared-"));
  const shape = { model_type: "gptj", n_embd: 64, n_head: 4, n_layer: 2, n_positions: 128, rotary_dim: 8, vocab_size: 256 };
  await writeFile(join(directory, "config.json"), JSON.stringify(shape));
  for (const name of ["model.safetensors", "tokenizer.json"]) await writeFile(join(directory, name), "");
  await writeFile(join(directory, "rows.json"), "[]");
});
after(() => rm(directory, { recursive: true, force: true }));

const worker = (host: string, slot: number, address = `10.0.0.${host}`, memory?: number): GpuWorker => ({
  ...{ queue: `${host}-${slot}`, host, slot, of: 2, started: 1, address },
  device: memory === undefined ? null : { uuid: `GPU-${host}-${slot}`, name: "A100", memory },
});
const two = (host: string, address?: string, memory?: number): GpuWorker[] => [0, 1].map((slot) => worker(host, slot, address, memory));

/** A machine named 1 on which nothing is amiss; each machine has 16 GB of memory. */
const place = (workers: readonly GpuWorker[], changes: Partial<PlanDependencies["shared"]> = {}): PlanDependencies => ({
  hub: createHub({ endpoint: "http://127.0.0.1:1", token: null, cacheDirectory: join(directory, "cache") }),
  buckets: createBuckets({ settings: {}, cacheDirectory: join(directory, "objects") }),
  findPublished: (uri) => findPublished(uri, {}),
  downloadedModel: async () => null,
  host: "1",
  defaultTarget: () => "s3://bucket/models",
  memory: () => ({ total: 16 * GB, available: 12 * GB }),
  disk: async () => ({ free: 1000 * GB, used: 0, directory: "/stages" }),
  checkTarget: async () => undefined,
  findLive: () => assert.fail("no rule compares with the live model"),
  fetchPublished,
  checkSigner: async () => null,
  gpuWorkers: () => assert.fail("all machines' workers count"),
  gpuMemory: () => assert.fail("all machines' workers count"),
  shared: { workers: async () => workers, checkStore: async () => undefined, serverHere: () => null, ...changes },
  searchAttributes: async () => [],
  downloaded: async () => null,
  forecast: (asked) => forecast(asked, join(directory, "stages")),
  needs: () => ({ parameters: 1e9, memoryBytes: 20 * GB, diskBytes: 20 * GB }),
});

const configOf = (workers: object = { hosts: 2 }, publish: object = {}): RunConfig =>
  parseRunConfig({
    model: { source: pathToFileURL(directory).href },
    dataset: { source: pathToFileURL(join(directory, "rows.json")).href },
    train: { engine: "deepspeed", workers: { waitSeconds: 0, ...workers } },
    publish,
  });
const planned = (dependencies: PlanDependencies, config: RunConfig): Promise<Plan> =>
  plan(dependencies, config, { signal: new AbortController().signal, progress: () => undefined });

test("a run for several machines gets a store below its target, which is tried, and says so", async () => {
  const tried: string[] = [];
  const checkStore = async (uri: string): Promise<string> => (tried.push(uri), "the server compares no checksums");
  const { config, notes } = await planned(place([...two("1"), ...two("2")], { checkStore }), configOf());
  assert.equal(config.train.workers.store, "s3://bucket/models/.roslin/train");
  assert.deepEqual(tried, ["s3://bucket/models/.roslin/train"]);
  assert.ok(notes.includes("the machines that train share inputs, commit log and checkpoints in s3://bucket/models/.roslin/train"));
  assert.ok(notes.includes("the server compares no checksums"));
  const named = await planned(place(two("1")), configOf({ hosts: 2, store: "file:///disk/" }));
  assert.equal(named.config.train.workers.store, "file:///disk");
  assert.ok(named.notes.includes("file:///disk has to be a disk that all these machines share"));
});

test("a store that cannot be written, or that a rule of the target would empty, is refused before anything is downloaded", async () => {
  const checkStore = async (): Promise<never> => {
    throw new UserError("the bucket does not exist: make it, or name another", { bucket: "bucket" });
  };
  await assert.rejects(planned(place(two("1"), { checkStore }), configOf()), /the bucket does not exist/);
  const expiring = { target: "s3://b/p", lifecycle: { expireAfterDays: 3 } };
  await assert.rejects(planned(place(two("1")), configOf({ hosts: 2 }, expiring)), /expireAfterDays would remove what training shares/);
  await planned(place(two("1")), configOf({ hosts: 2, store: "s3://b/pq" }, expiring));
});

test("workers and memory of all machines count", async () => {
  await assert.rejects(planned(place([]), configOf()), /too few GPU workers run: start them with roslin up.*need=1, have=0/);
  const both = await planned(place([...two("1"), ...two("2")]), configOf());
  assert.ok(both.notes.includes("only this machine's memory was looked at, not that of the others"));
  assert.ok(!both.notes.some((note) => note.includes("too little")));
  // as much as two machines have, while one is there
  const one = await planned(place(two("1")), configOf());
  assert.match(one.notes.join("\n"), /the memory of 1 machine like this one is too little: training needs more of the 2/);
  assert.match(one.notes.join("\n"), /GPU workers of 1 machine are there; training takes 2/);
  await assert.rejects(planned(place(two("1")), configOf({ store: "s3://b/p" })), /this machine has too little memory/);
  const large: PlanDependencies = { ...place(two("1")), needs: () => ({ parameters: 1e9, memoryBytes: 40 * GB, diskBytes: 1 }) };
  await assert.rejects(planned(large, configOf()), /raise train\.workers\.hosts \[.*need=40\.0 GB, machines=2, have=32\.0 GB\]/);
});

test("each rank's memory is compared with the GPUs of all machines", async () => {
  const onGpus = (workers: readonly GpuWorker[]): PlanDependencies => ({
    ...place(workers),
    needs: () => ({ parameters: 1e9, memoryBytes: 4 * GB, diskBytes: 1, deviceBytes: (ranks) => (40 * GB) / ranks }),
  });
  const gpus = (host: string): GpuWorker[] => two(host, undefined, 16 * GB);
  await assert.rejects(planned(onGpus(gpus("1")), configOf()), /more memory than its GPU has.*ranks=2, need=20\.0 GB, have=16\.0 GB/);
  const { notes } = await planned(onGpus([...gpus("1"), ...gpus("2")]), configOf());
  assert.match(notes.join("\n"), /each of 4 ranks needs at least 10\.0 GB of its GPU's 16\.0 GB; 3 GPUs would do/);
});

test("machines that others cannot reach are named; what cannot be known is said", () => {
  const config = configOf({ hosts: 2, store: "s3://bucket/training" });
  const reach = (workers: readonly GpuWorker[], server: string | null = null): string[] =>
    checkReach({ serverHere: () => server }, config, "1", workers);
  assert.deepEqual(reach([...two("1"), ...two("2")]), []);
  assert.throws(() => reach([...two("1"), ...two("2", "127.0.0.1")]), {
    name: "UserError",
    message: /cannot reach these.*set ROSLIN_ADDRESS on them.*machines=2, address=127\.0\.0\.1/,
  });
  const alike = reach([...two("1", "127.0.0.1"), ...two("2", "127.0.0.1")], "http://127.0.0.1:8333");
  assert.match(alike[0]!, /^1, 2 have the address 127\.0\.0\.1: they reach each other only if they are one machine$/);
  assert.match(alike[1]!, /^only this machine reaches the S3 server at http:\/\/127\.0\.0\.1:8333/);
  assert.throws(() => reach([...two("1"), ...two("2")], "http://127.0.0.1:8333"), /cannot reach the S3 server.*machines=2/);
  assert.match(reach(two("1"), "http://127.0.0.1:8333")[0]!, /only this machine reaches/);
  const twins = [worker("1", 0, "10.0.0.1"), worker("1", 1, "10.0.0.2"), ...two("3")];
  assert.deepEqual(reach(twins), ["1 has the addresses 10.0.0.1 and 10.0.0.2: if these are two machines, set ROSLIN_HOST on one of them"]);
});
