import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { publish } from "../../../activities/publish/publish.js";
import { keyParts } from "../../../activities/common/definition.js";
import { Stage, type StageContext } from "../../../activities/common/stage.js";
import { UserError } from "../../../core/errors.js";
import type { StageMetrics } from "../../../core/stages/metrics.js";
import type { Latest } from "../../../core/format/latest.js";
import { checkChain, keyOf, parseManifest } from "../../../core/format/manifest.js";
import { directoryDigest, sha256, sha256File } from "../../../infra/disk/files.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { openPublished } from "../../../infra/sources/published.js";
import { openStore } from "../../../infra/store/open-store.js";
import { readAll } from "../../../infra/store/store.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { finishedRun, publishDependencies } from "./run.js";
import { publishDefinition } from "../../../activities/publish/definition.js";
import { trainDefinition } from "../../../activities/train/definition.js";

const root = mkdtempSync(join(tmpdir(), "roslin-publish-"));
let server: Awaited<ReturnType<typeof startTestS3>>;
before(async () => {
  server = await startTestS3();
});
after(async () => {
  await server.stop();
  rmSync(root, { recursive: true });
});

let runs = 0;
const newRoot = (): string => join(root, `run-${runs++}`);
const context = (signal = new AbortController().signal): StageContext => ({ signal, progress: () => undefined });

test("publishes a whole directory to files: every digest right, the chain unbroken, latest.json naming it", async () => {
  const target = join(newRoot(), "target");
  const result = await publish(publishDependencies(), await finishedRun(newRoot(), pathToFileURL(target).href), context());
  const latest = JSON.parse(readFileSync(join(target, "latest.json"), "utf8")) as Latest;
  const directory = join(target, latest.name);
  const text = readFileSync(join(directory, "manifest.json"), "utf8");
  assert.equal(latest.manifest.sha256, sha256(text));
  assert.equal(latest.previous, null);
  const manifest = parseManifest(text, "test");
  assert.deepEqual(
    manifest.files.map(({ name }) => name),
    ["README.md", "config.json", "evaluation.json", "generation_config.json", "model.safetensors", "onnx/model.onnx", "report.html"],
  );
  for (const { name, sha256: digest } of manifest.files) assert.equal(await sha256File(join(directory, name)), digest, name);
  assert.deepEqual(
    checkChain(manifest, { sha256, directoryDigest }).filter(({ problem }) => problem !== null),
    [],
  );
  assert.equal(result.outputs[0]!.name, "published");
  assert.equal(fileURLToPath(result.outputs[0]!.uri), directory);
  assert.equal(result.metrics["latest"], true);
  new ModelFiles(directory).close();
});

test("publishes the very bytes that this version of the stage stands for", async () => {
  const result = await publish(publishDependencies(), await finishedRun(newRoot(), pathToFileURL(newRoot()).href), context());
  // another digest? what is published has changed: raise the definition's version, so that finished runs are published anew
  assert.deepEqual(
    [publishDefinition.version, result.outputs[0]!.sha256],
    [10, "674bcd6bf226cd5a0e6cc4a08bfa1dba5f5ffcd4843b59721e0af09431e536bb"],
  );
});

test("the card says what the model may be used for, and pages are free of markup from the data", async () => {
  const target = join(newRoot(), "target");
  const result = await publish(publishDependencies(), await finishedRun(newRoot(), pathToFileURL(target).href), context());
  const directory = fileURLToPath(result.outputs[0]!.uri);
  const card = readFileSync(join(directory, "README.md"), "utf8");
  assert.match(card, /license: cc-by-nc-4\.0/);
  assert.match(card, /for research only/);
  assert.match(card, /were cut at 128 tokens/);
  assert.match(card, /75\.0 % useful of 20 s: .*, 3 s lost to 1 failure, with 2 steps done again\./);
  assert.match(card, /1 failure survived; of 2 repeated steps 2 gave the same loss and gradient norm to the last bit\.\n/);
  assert.match(card, /\n\| 2 \| worker 0 of 8 died after 3 steps \| 3 s \| 2 \|\n\n## Answers/);
  const manifest = readFileSync(join(directory, "manifest.json"), "utf8");
  assert.doesNotMatch(card + manifest, /file:\/\//, "where local files lie is nobody's business");
  assert.match(card, /perplexity of this model \| 20\.000/);
  const page = readFileSync(join(directory, "report.html"), "utf8");
  assert.match(page, /Name &lt;one&gt; colour/);
  // a dot for each step's loss
  assert.equal(/<path class="dots soft" d="(.*?)"/.exec(page)![1]!.match(/h0/g)!.length, 5);
  assert.match(page, /worker 0 of 8 died after 3 steps/);
});

test("what an earlier version trained, under a key of its own, is published with its losses and its state", async () => {
  const place = newRoot();
  const request = await finishedRun(place, pathToFileURL(join(newRoot(), "target")).href);
  const { directory } = new Stage(trainDefinition, request);
  const earlier = join(request.root, "train", "1d1e518b7770064d");
  renameSync(directory, earlier);
  renameSync(join(place, "tuned"), join(earlier, "model"));
  const record = readFileSync(join(earlier, "stage.json"), "utf8");
  writeFileSync(join(earlier, "stage.json"), record.replace('"name": "tuned"', '"name": "model"'));
  const parts = { ...keyParts(trainDefinition, request), version: 7, settings: { epochs: 1 } };
  writeFileSync(join(earlier, "wanted.json"), JSON.stringify(parts));
  const inputs = request.inputs.map((input) =>
    input.name === "tuned" ? { ...input, uri: pathToFileURL(join(earlier, "model")).href } : input,
  );
  const { outputs } = await publish(publishDependencies(), { ...request, inputs }, context());
  const published = fileURLToPath(outputs[0]!.uri);
  const manifest = parseManifest(readFileSync(join(published, "manifest.json"), "utf8"), "test");
  const link = manifest.chain.find(({ stage }) => stage === "train")!;
  assert.equal(link.stateDigest, sha256("state"));
  assert.deepEqual([link.version, link.settings, link.key], [7, { epochs: 1 }, keyOf(parts, { sha256 })], "as it was trained");
  assert.deepEqual(
    checkChain(manifest, { sha256, directoryDigest }).filter(({ problem }) => problem !== null),
    [],
  );
  const card = readFileSync(join(published, "README.md"), "utf8");
  assert.match(card, /^\| tokens trained on \| 1,234 \|$/m);
  assert.doesNotMatch(card, /more than one kind of machine/);
});

test("a model that one engine began and another finished says so in card, report and manifest, and its name depends on it", async () => {
  const target = pathToFileURL(join(newRoot(), "target")).href;
  const by = (engine: string): object => ({ engine, engineVersion: "1", precision: "fp32" });
  const names: string[] = [];
  for (const steps of [2, 3]) {
    const request = await finishedRun(newRoot(), target);
    const stage = new Stage(trainDefinition, request);
    const { metrics, ...made } = (await stage.finished())!;
    const computed = [
      { steps, by: by("onnx") },
      { steps: 5 - steps, by: by("deepspeed") },
    ];
    await stage.finish({ ...made, metrics: { ...metrics, oneKindOfMachine: false, computed } as StageMetrics["train"] });
    const directory = fileURLToPath((await publish(publishDependencies(), request, context())).outputs[0]!.uri);
    const text = (name: string): string => readFileSync(join(directory, name), "utf8");
    const words = `steps 1 to ${steps} by the engine onnx (version 1) in fp32, ${steps + 1} to 5 by the engine deepspeed (version 1) in fp32`;
    const [card, manifest] = [text("README.md"), parseManifest(text("manifest.json"), "test")];
    assert.ok(card.includes(`| computed by | ${words} |`), card);
    assert.ok(card.includes(`finished with another (${words}), so no claim is made`));
    assert.doesNotMatch(card, /gives the same bytes, however often/);
    assert.ok(text("report.html").includes(`<tr><th scope="row">computed by</th><td>${words}</td></tr>`));
    assert.equal(manifest.fingerprint, null);
    assert.deepEqual(manifest.chain.find((entry) => entry.stage === "train")!.computed, computed);
    assert.deepEqual(
      checkChain(manifest, { sha256, directoryDigest }).filter(({ problem }) => problem !== null),
      [],
    );
    names.push(manifest.name);
  }
  assert.notEqual(names[0], names[1]);
});

test("a gate that isn't passed leaves latest.json alone", async () => {
  const target = pathToFileURL(join(newRoot(), "target")).href;
  const good = await publish(publishDependencies(), await finishedRun(newRoot(), target), context());
  const bad = await publish(publishDependencies(), await finishedRun(newRoot(), target, false), context());
  assert.notEqual(good.metrics["version"], bad.metrics["version"]);
  assert.equal(bad.metrics["latest"], false);
  const store = openStore(target, {});
  const latest = JSON.parse(Buffer.from((await readAll(store, "latest.json"))!).toString()) as Latest;
  assert.equal(latest.name, good.metrics["version"]);
  assert.notEqual(await store.read(`${String(bad.metrics["version"])}/manifest.json`), null);
});

test("a second model takes over latest.json and names the first", async () => {
  const target = pathToFileURL(join(newRoot(), "target")).href;
  const first = await publish(publishDependencies(), await finishedRun(newRoot(), target), context());
  const request = await finishedRun(newRoot(), target);
  const second = await publish(
    publishDependencies(),
    { ...request, config: { ...request.config, train: { ...request.config.train, seed: 7 } } },
    context(),
  );
  const latest = JSON.parse(Buffer.from((await readAll(openStore(target, {}), "latest.json"))!).toString()) as Latest;
  assert.deepEqual([latest.name, latest.previous], [second.metrics["version"], first.metrics["version"]]);
});

test("a latest.json that cannot be moved is said with its address before anything is sent; one that a hand wrote can be", async () => {
  const place = newRoot();
  const target = pathToFileURL(place).href;
  const request = await finishedRun(newRoot(), target);
  const store = openStore(target, {});
  const manifest = { sha256: "0".repeat(64) };
  for (const text of ["not json", "null", "{}", '{"name":"model"}', JSON.stringify({ name: "model", manifest, superseded: [null] })]) {
    await store.write("latest.json", Buffer.from(text));
    await assert.rejects(
      publish(publishDependencies(), request, context()),
      (error: Error) =>
        error instanceof UserError &&
        /latest\.json .*correct it, or remove it/.test(error.message) &&
        [target, 'expected={"name"', `got=${text.slice(0, 80)}`].every((part) => error.message.includes(part)),
      text,
    );
    assert.deepEqual(
      (await store.list("")).map(({ key }) => key),
      ["latest.json"],
    );
    const failing = await finishedRun(newRoot(), target, false);
    assert.equal((await publish(publishDependencies(), failing, context())).metrics["latest"], false);
    rmSync(join(place, String((await publish(publishDependencies(), failing, context())).metrics["version"])), { recursive: true });
  }
  await store.write("latest.json", Buffer.from(JSON.stringify({ name: "by-hand", manifest })));
  assert.equal((await publish(publishDependencies(), request, context())).metrics["latest"], true);
  const { previous, superseded } = JSON.parse(readFileSync(join(place, "latest.json"), "utf8")) as Latest;
  assert.deepEqual([previous, superseded], ["by-hand", ["by-hand"]]);
});

test("what lies in a directory is published once, and again where it was damaged", async () => {
  const request = await finishedRun(newRoot(), pathToFileURL(join(newRoot(), "target")).href);
  const first = await publish(publishDependencies(), request, context());
  assert.equal((await publish(publishDependencies(), request, context())).reused, true);
  const report = fileURLToPath(first.outputs.find(({ name }) => name === "report.html")!.uri);
  const whole = readFileSync(report);
  writeFileSync(report, Buffer.from(whole).fill("x", 100, 101));
  assert.equal((await publish(publishDependencies(), request, context())).reused, false);
  assert.deepEqual(readFileSync(report), whole);
});

test("publishes the same bytes to a real S3, by the default target, and sends nothing twice", async () => {
  const dependencies = publishDependencies(server.settings, "s3://roslin/models");
  const request = await finishedRun(newRoot(), null);
  const first = await publish(dependencies, request, context());
  assert.equal(first.outputs[0]!.uri, `s3://roslin/models/${String(first.metrics["version"])}`);
  assert.equal(first.metrics["bytesSent"], first.metrics["bytes"]);
  assert.equal((await publish(dependencies, request, context())).reused, true);
  const elsewhere = await publish(dependencies, { ...request, root: newRoot() }, context());
  // train's result lies elsewhere, so only what tells of its losses differs
  assert.equal(elsewhere.reused, false);
  const store = openStore("s3://roslin/models", server.settings);
  for (const { name, sha256: digest } of first.outputs.slice(1)) {
    const key = `${String(first.metrics["version"])}/${name}`;
    assert.equal(sha256((await readAll(store, key))!), digest, name);
  }
});

test("what somebody removed from the store is published again", async () => {
  const dependencies = publishDependencies(server.settings, "s3://roslin/removed");
  const request = await finishedRun(newRoot(), null);
  const first = await publish(dependencies, request, context());
  const store = openStore("s3://roslin/removed", server.settings);
  await store.delete(`${String(first.metrics["version"])}/README.md`);
  assert.equal((await publish(dependencies, request, context())).reused, false);
  for (const name of ["manifest.json", "README.md"]) await store.delete(`${String(first.metrics["version"])}/${name}`);
  const again = await publish(dependencies, request, context());
  assert.equal(again.reused, false);
  assert.equal(again.outputs[0]!.sha256, first.outputs[0]!.sha256);
  assert.ok((again.metrics["bytesSent"] as number) < 10_000);
});

/** A second training that came to the same, but took another time. */
const twin = (target: string): ReturnType<typeof finishedRun> => finishedRun(newRoot(), target, true, {}, { wallSeconds: 21 });

test("a second training that came to the same leaves what is published as it is, and sends what is missing there again", async () => {
  const target = "s3://roslin/twins";
  const store = openStore(target, server.settings);
  const dependencies = publishDependencies(server.settings);
  const first = await publish(dependencies, await finishedRun(newRoot(), target), context());
  const key = (name: string): string => `${String(first.metrics["version"])}/${name}`;
  const read = (name: string): Promise<Uint8Array | null> => readAll(store, key(name));
  const before = [await read("manifest.json"), await read("README.md"), await readAll(store, "latest.json")];
  const now = async (): Promise<(Uint8Array | null)[]> => [
    await read("manifest.json"),
    await read("README.md"),
    await readAll(store, "latest.json"),
  ];
  const second = await publish(dependencies, await twin(target), context());
  assert.deepEqual([second.metrics["version"], second.metrics["bytesSent"]], [first.metrics["version"], 0]);
  assert.deepEqual(second.outputs, first.outputs);
  assert.deepEqual(await now(), before);

  await store.delete(key("model.safetensors"));
  await store.write(key("evaluation.json"), Buffer.from("damaged"));
  await publish(dependencies, await twin(target), context());
  assert.deepEqual(await now(), before);
  for (const { name, sha256: digest } of first.outputs.slice(1)) assert.equal(sha256((await read(name))!), digest, name);
});

test("a card without a manifest stays: a kill may have come between, and another training may be about to publish the same", async () => {
  const target = "s3://roslin/between";
  const store = openStore(target, server.settings);
  const dependencies = publishDependencies(server.settings);
  const first = await publish(dependencies, await finishedRun(newRoot(), target), context());
  const manifest = `${String(first.metrics["version"])}/manifest.json`;
  const before = await readAll(store, manifest);
  for (const left of [null, Buffer.from("damaged")]) {
    await (left === null ? store.delete(manifest) : store.write(manifest, left));
    assert.deepEqual((await publish(dependencies, await twin(target), context())).outputs, first.outputs);
    assert.deepEqual(await readAll(store, manifest), before);
  }
});

test("trainings that came to the same, and publish it for the first time at once, publish one card and one manifest", async () => {
  for (const [target, settings] of [
    ["s3://roslin/at-once", server.settings],
    [pathToFileURL(join(newRoot(), "target")).href, {}],
  ] as const) {
    const real = publishDependencies(settings);
    // nobody goes on before both have seen that no manifest is there
    let seen = 0;
    let go = (): void => undefined;
    const both = new Promise<void>((resolve) => (go = resolve));
    const dependencies: typeof real = {
      ...real,
      openStore(...place) {
        const store = real.openStore(...place);
        return {
          ...store,
          async read(key, range) {
            const bytes = await store.read(key, range);
            if (key.endsWith("/manifest.json")) {
              if (++seen === 2) go();
              await both;
            }
            return bytes;
          },
        };
      },
    };
    const requests = [await finishedRun(newRoot(), target), await twin(target)];
    const [one, other] = await Promise.all(requests.map((request) => publish(dependencies, request, context())));
    assert.deepEqual(one!.outputs, other!.outputs);
    assert.deepEqual([one!.metrics["latest"], other!.metrics["latest"]], [true, true]);
    const { manifest, store } = await openPublished(target, settings);
    for (const { name, sha256: digest } of manifest.files) assert.equal(sha256((await readAll(store, name))!), digest, name);
  }
});

test("a card or a report that is lost is the one thing that gives a published model another manifest, which is whole, and said", async () => {
  const target = "s3://roslin/lost-card";
  const store = openStore(target, server.settings);
  const dependencies = publishDependencies(server.settings);
  const first = await publish(dependencies, await finishedRun(newRoot(), target), context());
  for (const [name, words] of [
    ["README.md", /the card of .* is gone or damaged/],
    ["report.html", /the report of .* is gone or damaged/],
  ] as const) {
    await store.write(`${String(first.metrics["version"])}/${name}`, Buffer.from("damaged"));
    const notes: string[] = [];
    await publish(dependencies, await twin(target), { ...context(), progress: ({ note }) => void notes.push(note ?? "") });
    assert.ok(
      notes.some((note) => words.test(note)),
      name,
    );
  }
  const { manifest, uri } = await openPublished(target, server.settings);
  assert.equal(uri, first.outputs[0]!.uri);
  for (const { name, sha256: digest } of manifest.files) assert.equal(sha256((await readAll(store, `${manifest.name}/${name}`))!), digest);
});

test("a missing bucket is said before anything is written, and an aborted publishing leaves no manifest", async () => {
  const request = await finishedRun(newRoot(), "s3://no-such-bucket/models");
  await assert.rejects(
    publish(publishDependencies(server.settings), request, context()),
    (error) => error instanceof UserError && /no such bucket/.test(error.message),
  );
  assert.equal(existsSync(join(request.root, "publish")), false);

  const stop = new AbortController();
  const reason = new Error("stopped by the test");
  const target = "s3://roslin/aborted";
  const aborted = await finishedRun(newRoot(), target);
  const progress: StageContext["progress"] = ({ note }) => {
    if (note === "model.safetensors") stop.abort(reason);
  };
  await assert.rejects(publish(publishDependencies(server.settings), aborted, { signal: stop.signal, progress }), reason);
  const names = (await openStore(target, server.settings).list("")).map(({ key }) => key);
  assert.ok(names.length > 0 && !names.some((name) => name.endsWith("manifest.json")), names.join());
  assert.equal((await publish(publishDependencies(server.settings), aborted, context())).metrics["latest"], true);
});

test("an upload over a slow line is not taken for one that hangs", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const dependencies = publishDependencies();
  let said = 0;
  const saidMeanwhile: number[] = [];
  const openTarget: typeof dependencies.openStore = (...place) => {
    const store = dependencies.openStore(...place);
    return {
      ...store,
      putFile(...file) {
        const before = said;
        t.mock.timers.tick(60_000);
        saidMeanwhile.push(said - before);
        return store.putFile(...file);
      },
    };
  };
  const request = await finishedRun(newRoot(), pathToFileURL(newRoot()).href);
  await publish({ ...dependencies, openStore: openTarget }, request, { ...context(), progress: () => void said++ });
  assert.ok(saidMeanwhile.length > 5 && saidMeanwhile.every((words) => words === 60), `${saidMeanwhile}`);
});

test("a tuned model that was changed since training is not published", async () => {
  const request = await finishedRun(newRoot(), pathToFileURL(join(newRoot(), "target")).href);
  writeFileSync(join(fileURLToPath(request.inputs.find(({ name }) => name === "tuned")!.uri), "generation_config.json"), "{}");
  await assert.rejects(
    publish(publishDependencies(), request, context()),
    (error: Error) => error instanceof UserError && /run `roslin stage train` again/.test(error.message),
  );
});
