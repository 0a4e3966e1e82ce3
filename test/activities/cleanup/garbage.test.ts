import assert from "node:assert/strict";
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import {
  discardUploads,
  findGarbage,
  finishRemovals,
  removeGarbage,
  type Garbage,
  type KeptRun,
} from "../../../activities/cleanup/garbage.js";
import { findSpareObjects, removeSpareObject } from "../../../activities/cleanup/spare-objects.js";
import { DEFINITIONS } from "../../../activities/forecast/definitions.js";
import { finishedStage, Stage } from "../../../activities/common/stage.js";
import { parseRunConfig, type RunConfig } from "../../../core/config/schema.js";
import { inputsFrom, STAGES } from "../../../core/stages/results.js";
import { sha256 } from "../../../infra/disk/files.js";
import { lock } from "../../../infra/disk/lock.js";
import { gc } from "../../../cli/commands/gc.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { finish, leave } from "../common/made-stages.js";

const place = mkdtempSync(join(tmpdir(), "roslin-garbage-"));
after(() => rmSync(place, { recursive: true }));
let roots = 0;
const newRoot = (): string => join(place, `stages-${roots++}`);
const run = (train: object): RunConfig => parseRunConfig({ train, publish: { target: "s3://bucket/models" } });
const over = (...configs: readonly RunConfig[]): KeptRun[] => configs.map((config) => ({ config, begun: null }));
const discard = async (): Promise<void> => undefined;

test("what a run would reuse or go on in is kept, the rest is found with its size", async () => {
  const root = newRoot();
  const kept = run({ seed: 1 });
  await finish(kept, root, "train");
  const [, , train, evaluate, publish] = await finish(run({ seed: 2 }), root);
  writeFileSync(join(train!, "shard"), Buffer.alloc(1_000_000));
  const found = await findGarbage(root, over(kept));
  assert.deepEqual(
    found.map(({ directory }) => directory),
    [train, evaluate, publish],
  );
  assert.ok(found[0]!.bytes >= 1_000_000);
  assert.deepEqual(await findGarbage(root, over(kept, run({ seed: 2 }))), []);
  assert.equal((await findGarbage(root, [])).length, 6);
});

test("a copy of another machine's output stays while a run that has been given it runs", async () => {
  const root = newRoot();
  const config = run({ seed: 1 });
  const [used, spare] = ["a", "b"].map((digit) => ({ name: "model", uri: "file:///elsewhere/model", sha256: digit.repeat(64), bytes: 1 }));
  for (const { sha256: digest } of [used!, spare!]) mkdirSync(join(root, "shared", digest.slice(0, 32), "model"), { recursive: true });
  mkdirSync(join(root, "shared", "uploads"));
  const running: KeptRun[] = [{ config, begun: [{ config, inputs: [used!] }] }];
  const names = async (runs: readonly KeptRun[]): Promise<string[]> =>
    (await findGarbage(root, runs)).map(({ directory }) => basename(directory));
  assert.deepEqual(await names(running), ["b".repeat(32)]);
  assert.deepEqual((await names(over(config))).sort(), ["a".repeat(32), "b".repeat(32)]);
});

test("an unfinished training that a run may take over stays until that run's own has finished", async () => {
  const root = newRoot();
  const [begun, other] = [run({ seed: 1 }), run({ seed: 2 })];
  const wanted = run({ seed: 1, engine: "deepspeed" });
  const directories = await finish(begun, root, "preprocess");
  const inputs = inputsFrom(await Promise.all(directories.map(async (directory) => (await finishedStage(directory))!)));
  const stages = [begun, other].map((config) => new Stage(DEFINITIONS.train, { config, inputs, root }));
  for (const stage of stages) await stage.begin();
  const [taken, unrelated] = stages.map(({ directory }) => directory) as [string, string];
  const garbage = async (runs: readonly KeptRun[]): Promise<string[]> => (await findGarbage(root, runs)).map(({ directory }) => directory);
  assert.deepEqual(await garbage(over(wanted)), [unrelated]);
  const running: KeptRun = { config: wanted, begun: [{ config: wanted, inputs }] };
  assert.deepEqual(await garbage([running]), [unrelated]);
  await finish(wanted, root, "train");
  assert.deepEqual((await garbage([running])).sort(), [taken, unrelated].sort());
  assert.deepEqual((await garbage(over(wanted))).sort(), [taken, unrelated].sort());
  assert.deepEqual(await garbage(over(wanted, begun)), [unrelated], "a run of its own is kept for itself");
});

test("what runs stays, though another run of the same sources, which hold something else by now, has left another record", async () => {
  const root = newRoot();
  const config = run({ seed: 1 });
  const directories = await finish(config, root, "evaluate");
  const inputs = inputsFrom(await Promise.all(directories.map(async (directory) => (await finishedStage(directory))!)));
  const stage = new Stage(DEFINITIONS.publish, { config, inputs, root });
  const publishing = stage.directory;
  await stage.begin();
  mkdirSync(join(publishing, "uploads"));
  writeFileSync(join(publishing, "uploads", "abc"), "{}");
  const [, ...later] = [...directories, publishing];
  const outputs = inputs.slice(0, 2).map((output) => ({ ...output, sha256: sha256(`another ${output.name}`) }));
  await leave(DEFINITIONS.download, { config, inputs: [], root }, { outputs });
  const running: KeptRun = {
    config,
    begun: [
      { config, inputs: [] },
      { config, inputs },
    ],
  };
  assert.deepEqual(await findGarbage(root, [running]), []);
  const none = (): Promise<void> => Promise.reject(new Error("it goes on with its upload"));
  await discardUploads(root, async () => [running], none);
  assert.deepEqual(
    (await findGarbage(root, over(config))).map(({ directory }) => directory),
    later,
  );
});

test("what an earlier version made for a run that still runs stays, though its key is another one today", async () => {
  const root = newRoot();
  const config = run({ seed: 1 });
  const directories = await finish(config, root, "train");
  const inputs = inputsFrom(await Promise.all(directories.map(async (directory) => (await finishedStage(directory))!)));
  const before = join(root, "train", "1d1e518b7770064d");
  mkdirSync(join(before, "model"), { recursive: true });
  const given = inputs.map((input) => (input.name === "tuned" ? { ...input, uri: pathToFileURL(join(before, "model")).href } : input));
  assert.deepEqual(await findGarbage(root, [{ config, begun: [{ config, inputs: given }] }]), []);
  assert.deepEqual(
    (await findGarbage(root, over(config))).map(({ directory }) => directory),
    [before],
  );
});

test("a directory in which somebody works stays, and so does one that a run needs which began meanwhile", async () => {
  const root = newRoot();
  const [directory] = await finish(run({}), root, "download");
  const garbage: Garbage = { stage: "download", directory: directory!, bytes: 1 };
  const unlock = await lock(join(directory!, "lock"), new AbortController().signal, () => undefined);
  assert.match((await removeGarbage(root, garbage, async () => [], discard))!, new RegExp(`process ${process.pid} works in it`));
  await unlock();
  assert.match((await removeGarbage(root, garbage, async () => over(run({})), discard))!, /has begun since needs it/);
  assert.ok(existsSync(join(directory!, "stage.json")));
  assert.equal(await removeGarbage(root, garbage, async () => [], discard), null);
  assert.equal(existsSync(directory!), false);
  assert.deepEqual(readdirSync(root), ["download"]);
});

test("uploads that a removed stage had begun are removed from the bucket first; where that fails it stays", async () => {
  const root = newRoot();
  const directories = await finish(run({}), root);
  const directory = directories.at(-1)!;
  mkdirSync(join(directory, "uploads"));
  writeFileSync(join(directory, "uploads", "abc"), "{}");
  const garbage: Garbage = { stage: "publish", directory, bytes: 1 };
  const away = async (): Promise<void> => Promise.reject(new Error("S3 is away"));
  await assert.rejects(
    removeGarbage(root, garbage, async () => [], away),
    /S3 is away/,
  );
  assert.ok(existsSync(join(directory, "stage.json")));
  const seen: string[] = [];
  assert.equal(
    await removeGarbage(
      root,
      garbage,
      async () => [],
      async (journal) => void seen.push(journal),
    ),
    null,
  );
  assert.deepEqual(seen, [join(directory, "uploads", "abc")]);
});

test("uploads are removed that no run goes on with, and in which nobody works", async () => {
  const root = newRoot();
  const [needed, busy, left] = await Promise.all(
    [1, 2, 3].map(async (seed) => {
      const directory = (await finish(run({ seed }), root)).at(-1)!;
      mkdirSync(join(directory, "uploads"));
      writeFileSync(join(directory, "uploads", "abc"), "{}");
      return directory;
    }),
  );
  const unlock = await lock(join(busy!, "lock"), new AbortController().signal, () => undefined);
  const seen: string[] = [];
  const look = (): Promise<void> =>
    discardUploads(
      root,
      async () => over(run({ seed: 1 })),
      async (journal) => void seen.push(journal),
    );
  await look();
  assert.deepEqual(seen, [join(left!, "uploads", "abc")]);
  await unlock();
  await look();
  assert.deepEqual(new Set(seen), new Set([left, busy].map((directory) => join(directory!, "uploads", "abc"))));
  assert.ok(existsSync(join(needed!, "uploads", "abc")));
  await discardUploads(join(root, "none"), () => Promise.reject(new Error("asked without need")), discard);
});

test("what came from buckets goes when no directory that stays links to it, but not while a run has yet to fetch", async () => {
  const root = newRoot();
  const cache = join(place, `objects-${roots}`);
  mkdirSync(cache);
  const put = (name: string, bytes = 1000): string => {
    writeFileSync(join(cache, name), Buffer.alloc(bytes, 1));
    return join(cache, name);
  };
  const kept = run({ seed: 1 });
  const [keptDownload] = await finish(kept, root);
  const old = parseRunConfig({ ...kept, model: { source: "hf://another/model" } });
  const [oldDownload] = await finish(old, root);
  linkSync(put("linked"), join(keptDownload!, "model.bin"));
  linkSync(put("shared"), join(keptDownload!, "shared.bin"));
  linkSync(put("shared"), join(oldDownload!, "shared.bin"));
  linkSync(put("old", 2000), join(oldDownload!, "model.bin"));
  symlinkSync(put("pointed"), join(keptDownload!, "rows.json"));
  put("linked.sha256", 64);
  put("old.sha256", 64);
  put("unlinked");
  put("half.part");
  put("half.part.journal", 10);
  put("whole.bad");
  const garbage = await findGarbage(root, over(kept));
  const spare = await findSpareObjects(cache, root, garbage, over(kept));
  const names = spare.map(({ blob, bytes }) => [basename(blob), bytes]);
  assert.deepEqual(names, [
    ["half", 1010],
    ["old", 2064],
    ["unlinked", 1000],
    ["whole", 1000],
  ]);
  const fetching = parseRunConfig({ ...kept, dataset: { source: "s3://bucket/rows.json" } });
  assert.deepEqual(await findSpareObjects(cache, root, garbage, over(kept, fetching)), []);
  const [half, linked] = spare;
  assert.match((await removeSpareObject(root, half!, async () => over(fetching)))!, /has begun since/);
  assert.match((await removeSpareObject(root, linked!, async () => over(kept)))!, /in use/);
  assert.equal(await removeSpareObject(root, half!, async () => over(kept)), null);
  assert.deepEqual(readdirSync(cache).sort(), [
    "linked",
    "linked.sha256",
    "old",
    "old.sha256",
    "pointed",
    "shared",
    "unlinked",
    "whole.bad",
  ]);
});

test("what a download's sources held before goes, with the objects that only it links to, unless a run has them", async () => {
  const root = newRoot();
  const cache = join(place, `objects-${roots}`);
  mkdirSync(cache);
  const config = parseRunConfig({ ...run({}), model: { source: "s3://bucket/models" } });
  const [directory] = await finish(config, root, "download");
  const view = (name: string, at: number): string => {
    const path = join(directory!, name);
    mkdirSync(path);
    writeFileSync(join(cache, name), Buffer.alloc(1000));
    linkSync(join(cache, name), join(path, "model.safetensors"));
    utimesSync(path, at, at);
    return path;
  };
  const past = [view("dataset-0123456789ab", 1), view("model-0123456789ab", 1), view("model-ba9876543210.tmp", 1)];
  const now = view("model-abcdefabcdef", 2);
  const fetchedSince = view("dataset-abcdefabcdef", Date.now() / 1000 + 60);
  mkdirSync(join(directory!, "model"));
  const result = (await finishedStage(directory!))!;
  const outputs = result.outputs.map((output) => (output.name === "model" ? { ...output, uri: pathToFileURL(now).href } : output));
  await leave(DEFINITIONS.download, { config, inputs: [], root }, { ...result, outputs });

  const garbage = await findGarbage(root, over(config));
  assert.deepEqual(new Set(garbage.map((each) => each.directory)), new Set(past));
  const spare = await findSpareObjects(cache, root, garbage, over(config));
  assert.deepEqual(
    spare.map(({ blob }) => blob),
    past.map((path) => join(cache, basename(path))),
  );
  const reading: KeptRun = { config, begun: [{ config, inputs: result.outputs }] };
  assert.deepEqual(await findGarbage(root, [reading]), []);
  assert.deepEqual(await findSpareObjects(cache, root, garbage, [{ config, begun: [] }]), [], "it may be fetching");
  assert.match((await removeGarbage(root, garbage[0]!, async () => [reading], discard))!, /has begun since needs it/);
  const unlock = await lock(join(directory!, "lock"), new AbortController().signal, () => undefined);
  assert.match((await removeGarbage(root, garbage[0]!, async () => over(config), discard))!, /works in it/);
  await unlock();
  for (const each of garbage) assert.equal(await removeGarbage(root, each, async () => over(config), discard), null);
  for (const each of spare) assert.equal(await removeSpareObject(root, each, async () => over(config)), null);
  assert.deepEqual(readdirSync(cache).sort(), [basename(fetchedSince), basename(now)]);
  assert.deepEqual(await findGarbage(root, over(config)), []);
  rmSync(join(directory!, "stage.json"));
  utimesSync(now, 1, 1);
  assert.deepEqual(await findGarbage(root, over(config)), [], "a download that has not finished goes on with what it has");
});

test("a removal that was killed is finished by the next", async () => {
  const root = newRoot();
  mkdirSync(join(root, ".removed-1", "x"), { recursive: true });
  await finishRemovals(root);
  assert.deepEqual(readdirSync(root), []);
  await finishRemovals(join(root, "none"));
});

test("roslin gc says what it would remove, and removes it when told to", async (t) => {
  const root = newRoot();
  const environment = readEnvironment({ ROSLIN_HOME: join(place, "home"), ROSLIN_S3: "external" }, CHECKOUT);
  await finish(run({ seed: 1 }), root);
  await finish(run({ seed: 2 }), root);
  const config = join(place, "config.json");
  writeFileSync(config, JSON.stringify({ train: { seed: 2 }, publish: { target: "s3://bucket/models/" } }));
  const lines: string[] = [];
  t.mock.method(console, "log", (line: string) => void lines.push(line));
  t.mock.method(console, "error", () => undefined);
  const call = ["--dir", root, "--config", config];
  assert.equal(await gc.run(call, environment), 0);
  assert.match(lines.at(-1)!, /^Remove 3 directories, \d+\.\d kB with --yes$/);
  assert.equal((await findGarbage(root, [])).length, 2 + 2 * 3);
  assert.equal(await gc.run([...call, "--yes"], environment), 0);
  assert.match(lines.at(-1)!, /^removed \d+\.\d kB; what 1 run needs is kept$/);
  assert.equal((await findGarbage(root, [])).length, STAGES.length);
  assert.equal(await gc.run(call, environment), 0);
  assert.equal(lines.at(-1), "nothing to remove; what 1 run needs is kept");
  await assert.rejects(gc.run(["--dir", root], environment), /--config for every run/);
});
