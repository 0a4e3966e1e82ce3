import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { download } from "../../../activities/download/download.js";
import { publish } from "../../../activities/publish/publish.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import { verify } from "../../../cli/commands/verify.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { CorruptError } from "../../../core/errors.js";
import { keyOf, MANIFEST, nameDigits, type Manifest } from "../../../core/format/manifest.js";
import { outputNamed } from "../../../core/stages/results.js";
import { sha256 } from "../../../infra/disk/files.js";
import { openStore } from "../../../infra/store/open-store.js";
import { readAll, type ObjectStore } from "../../../infra/store/store.js";
import { CHECKOUT, readEnvironment, type Environment } from "../../../workers/environment.js";
import { dependenciesFor } from "../../activities/download/dependencies.js";
import { finishedRun, publishDependencies } from "../../activities/publish/run.js";
import { startFront } from "../../infra/sources/front.js";
import { startProxy, type Refusal, type S3Call } from "../../infra/store/proxy.js";
import { startTestS3 } from "../../infra/store/weed.js";

/** Every link of a chain in a real bucket, three models deep, damaged in every way: verify names it, and no other. */

const TARGET = "s3://roslin/models";
const root = mkdtempSync(join(tmpdir(), "roslin-links-"));
const context = { signal: new AbortController().signal, progress: () => undefined };
let server: Awaited<ReturnType<typeof startTestS3>>;
let environment: Environment;
let variables: Record<string, string>;
let store: ObjectStore;
/** names of the models, the first one's base is from elsewhere, the next one's is the one before */
const models: string[] = [];
let first: StageRequest;

before(async () => {
  server = await startTestS3();
  const { endpoint, credentials } = server.settings;
  variables = {
    ROSLIN_HOME: join(root, "home"),
    ROSLIN_S3: "external",
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: credentials!.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials!.secretAccessKey,
  };
  environment = readEnvironment(variables, CHECKOUT);
  store = openStore(TARGET, server.settings);
  first = await finishedRun(join(root, "first"), TARGET);
  models.push(await published(first));
  for (const generation of ["second", "third"]) models.push(await published(await descendant(join(root, generation))));
});
after(async () => {
  await server?.stop();
  rmSync(root, { recursive: true });
});

async function published(request: StageRequest): Promise<string> {
  const { metrics } = await publish(publishDependencies(server.settings), request, context);
  return metrics["version"] as string;
}

/** A run that was tuned from the latest model. */
async function descendant(place: string): Promise<StageRequest> {
  const request = await finishedRun(place, TARGET);
  const dataset = { source: pathToFileURL(join(place, "rows.json")).href };
  const config = parseRunConfig({ ...request.config, model: { source: `${TARGET}/latest.json` }, dataset });
  const downloaded = await download(
    dependenciesFor("http://127.0.0.1:9", place, server.settings),
    { ...request, config, inputs: [] },
    context,
  );
  const inputs = request.inputs.map((input) => downloaded.outputs.find(({ name }) => name === input.name) ?? input);
  return { ...request, config, inputs };
}

/** Calls `roslin verify`; the links that it calls broken, or the message with which it gave up. */
async function broken(run: string, place = environment): Promise<string[] | string> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => void lines.push(line);
  try {
    await verify.run([run], place);
    return [];
  } catch (error) {
    assert.ok(error instanceof Error);
    const links = lines.flatMap((line) => /^BROKEN {2}(.*?): (?=expected|it is|its|nothing|a |the |latest)/.exec(line)?.[1] ?? []);
    if (links.length === 0) return error.message;
    assert.ok(
      error instanceof CorruptError && error.message.includes(`${links.length} of ${lines.length} links are broken`),
      error.message,
    );
    return links;
  } finally {
    console.log = log;
  }
}

/** Does something to objects, and puts them back as they were. */
async function damaged<T>(
  keys: readonly string[],
  change: (before: readonly Uint8Array[]) => Promise<unknown>,
  look: () => Promise<T>,
): Promise<T> {
  const before = await Promise.all(keys.map(async (key) => (await readAll(store, key))!));
  await change(before);
  try {
    return await look();
  } finally {
    for (const [index, key] of keys.entries()) await store.write(key, before[index]!);
  }
}

const flipped = (bytes: Uint8Array, at = bytes.length >> 1): Uint8Array => bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
const flip =
  (key: string, at?: number) =>
  async ([bytes]: readonly Uint8Array[]) =>
    store.write(key, flipped(bytes!, at));
const uri = (generation: number): string => `${TARGET}/${models[generation]}`;

test("the whole chain holds, from the latest model down to the first", async () => {
  assert.equal(new Set(models).size, 3);
  assert.deepEqual(await broken(TARGET), []);
  assert.deepEqual(await broken(uri(2)), []);
  assert.match(Buffer.from((await readAll(store, `${models[2]}/README.md`))!).toString(), /^license: cc-by-nc-4\.0$/m, "the first one's");
});

for (const generation of [2, 1, 0])
  test(`each file of the model ${2 - generation} levels down is named that was changed, removed or swapped`, async () => {
    const { files } = JSON.parse(Buffer.from((await readAll(store, `${models[generation]}/${MANIFEST}`))!).toString()) as Manifest;
    const names = files.map(({ name }) => name);
    for (const wanted of ["model.safetensors", "onnx/model.onnx", "config.json", "evaluation.json", "README.md"])
      assert.ok(names.includes(wanted));
    for (const [index, name] of names.entries()) {
      const key = `${models[generation]}/${name}`;
      const link = `${uri(generation)}/${name}`;
      assert.deepEqual(await damaged([key], flip(key), () => broken(TARGET)), [link], `changed ${name}`);
      assert.deepEqual(
        await damaged(
          [key],
          () => store.delete(key),
          () => broken(TARGET),
        ),
        [link],
        `removed ${name}`,
      );
      const next = names[(index + 1) % names.length]!;
      const other = `${models[generation]}/${next}`;
      const swap = async ([own, others]: readonly Uint8Array[]): Promise<void> => {
        await store.write(key, others!);
        await store.write(other, own!);
      };
      const both = [link, `${uri(generation)}/${next}`];
      assert.deepEqual(new Set(await damaged([key, other], swap, () => broken(TARGET))), new Set(both), `swapped ${name} and ${next}`);
    }
  });

test("without the right to list, each file that is gone is named all the same, and a cut connection is none", async () => {
  const { endpoint } = server.settings;
  const hide = ({ right }: S3Call, status: number): Refusal | null =>
    right === "s3:GetObject" && status === 404 ? { status: 403, code: "AccessDenied" } : null;
  const proxy = await startProxy(endpoint, () => null, hide);
  const front = await startFront(endpoint);
  const through = (url: string): Environment => readEnvironment({ ...variables, AWS_ENDPOINT_URL_S3: url }, CHECKOUT);
  try {
    const names = ["config.json", "onnx/model.onnx"].map((name) => `${models[1]}/${name}`);
    const remove = async (): Promise<unknown> => Promise.all(names.map((name) => store.delete(name)));
    const got = await damaged(names, remove, () => broken(TARGET, through(proxy.endpoint)));
    assert.deepEqual(
      got,
      names.map((name) => `${TARGET}/${name}`),
    );
    front.cutAfter = 100_000;
    assert.deepEqual(await broken(uri(0), through(front.url)), []);
    assert.ok(front.asked.some((line) => /model\.safetensors bytes=\d+-$/.test(line)));
  } finally {
    await proxy.stop();
    await front.close();
  }
});

test("a manifest that is changed, gone or another's is named, as the base of the next model or of latest.json", async () => {
  for (const generation of [1, 0]) {
    const key = `${models[generation]}/${MANIFEST}`;
    const link = [`base model ${uri(generation)}`];
    assert.deepEqual(await damaged([key], flip(key), () => broken(TARGET)), link);
    assert.deepEqual(
      await damaged(
        [key],
        () => store.delete(key),
        () => broken(TARGET),
      ),
      link,
    );
    const latest = (await readAll(store, `${models[2]}/${MANIFEST}`))!;
    assert.deepEqual(
      await damaged(
        [key],
        () => store.write(key, latest),
        () => broken(TARGET),
      ),
      link,
    );
  }
  const own = `${models[2]}/${MANIFEST}`;
  assert.match(String(await damaged([own], flip(own), () => broken(TARGET))), /a manifest is not the one that latest\.json names/);
  assert.match(
    String(
      await damaged(
        [own],
        () => store.delete(own),
        () => broken(TARGET),
      ),
    ),
    /the model that latest\.json names has no manifest/,
  );
  assert.match(String(await damaged([own], flip(own, 0), () => broken(uri(2)))), /a manifest is damaged/);
  assert.match(
    String(
      await damaged(
        [own],
        () => store.delete(own),
        () => broken(uri(2)),
      ),
    ),
    /no manifest\.json and no latest\.json/,
  );
});

test("a latest.json that is changed or gone is named", async () => {
  const text = Buffer.from((await readAll(store, "latest.json"))!).toString();
  const changes: readonly (readonly [string, RegExp])[] = [
    [`x${text}`, /latest\.json is not JSON/],
    [text.replace(models[2]!, "../other"), /latest\.json names no model/],
    [text.replace(models[2]!, "other"), /the model that latest\.json names has no manifest/],
    [text.replace(/"sha256": "./, '"sha256": "x'), /a manifest is not the one that latest\.json names/],
    [text.replace(models[2]!, models[1]!), /a manifest is not the one that latest\.json names/],
  ];
  for (const [changed, message] of changes)
    assert.match(
      String(
        await damaged(
          ["latest.json"],
          () => store.write("latest.json", Buffer.from(changed)),
          () => broken(TARGET),
        ),
      ),
      message,
    );
  assert.match(
    String(
      await damaged(
        ["latest.json"],
        () => store.delete("latest.json"),
        () => broken(TARGET),
      ),
    ),
    /no manifest\.json and no latest\.json/,
  );
});

const zeros = "0".repeat(64);

/** What the chain within a manifest says, and which link breaks when it says something else, besides the model's name. */
const CHAIN: readonly (readonly [what: string, change: (manifest: Manifest) => void, links?: readonly string[]])[] = [
  ["rows", ({ chain }) => void (chain[0]!.outputs[1]!.sha256 = zeros), ["preprocess's input dataset"]],
  [
    "base weights",
    ({ chain }) => void (chain[0]!.outputs[0]!.sha256 = zeros),
    [`base model`, "preprocess's input model", "train's input model", "evaluate's input model"],
  ],
  ["tokens", ({ chain }) => void (chain[1]!.outputs[0]!.sha256 = zeros), ["train's input tokens", "evaluate's input tokens"]],
  ["settings", ({ chain }) => void (chain[2]!.settings = {}), ["train's settings"]],
  ["tuned weights", ({ chain }) => void (chain[2]!.outputs[0]!.sha256 = zeros), ["evaluate's input tuned", "the trained model"]],
  ["evaluation", ({ chain }) => void (chain[3]!.outputs[0]!.sha256 = zeros), ["published evaluation.json"]],
  ["where rows came from", ({ chain }) => void (chain[0]!.outputs[1]!.origin = { uri: "hf://nobody/rows" })],
  ["where the base came from", ({ chain }) => void (chain[0]!.outputs[0]!.origin = { uri: "hf://nobody/base" })],
  ["weights and optimizer state", ({ chain }) => void (chain[2]!.stateDigest = zeros)],
  ...([0, 1, 2, 3] as const).map(
    (stage) => [`the size of what stage ${stage} left`, ({ chain }: Manifest) => void chain[stage]!.outputs[0]!.bytes++] as const,
  ),
  ["the kind of machine", (manifest) => void (manifest.fingerprint = { node: "v0" })],
  ["the version that published it", (manifest) => void manifest.publishVersion!--],
  [
    "rows, wherever they are named",
    ({ chain }) => {
      chain[0]!.outputs[1]!.sha256 = zeros;
      chain[1]!.inputs.find(({ name }) => name === "dataset")!.sha256 = zeros;
    },
    ["preprocess's settings"],
  ],
  ["the name", (manifest) => void (manifest.name = manifest.name.replace(/.{12}$/, "0123456789ab"))],
];

test("everything that a chain says is checked, by its links or by the model's name, though keys and name are made to fit", async () => {
  const key = `${models[2]}/${MANIFEST}`;
  for (const [what, change, links = []] of CHAIN)
    for (const fitted of ["nothing", "keys and name"]) {
      const edit = async ([bytes]: readonly Uint8Array[]): Promise<void> => {
        const manifest = JSON.parse(Buffer.from(bytes!).toString()) as Manifest;
        change(manifest);
        if (fitted !== "nothing") {
          for (const entry of manifest.chain) entry.key = keyOf(entry, { sha256 });
          manifest.name = manifest.name.replace(/.{12}$/, nameDigits(manifest, { sha256 }));
        }
        await store.write(key, Buffer.from(JSON.stringify(manifest)));
      };
      if (what === "the name" && fitted !== "nothing") continue;
      const got = await damaged([key], edit, () => broken(uri(2)));
      const left = links.filter((link) => fitted === "nothing" || !link.endsWith("settings"));
      const expected = [...left, "the model's name"].map((link) => (link === "base model" ? `base model ${uri(1)}` : link));
      assert.deepEqual(new Set(got), new Set(expected), `${what}; made to fit: ${fitted}`);
    }
});

test("an older manifest, which doesn't say what its name is made of, is checked but for its name", async () => {
  const key = `${models[2]}/${MANIFEST}`;
  const age = async ([bytes]: readonly Uint8Array[]): Promise<void> => {
    const { publishVersion: _, ...old } = JSON.parse(Buffer.from(bytes!).toString()) as Manifest;
    await store.write(key, Buffer.from(JSON.stringify({ ...old, fingerprint: null })));
  };
  assert.deepEqual(await damaged([key], age, () => broken(uri(2))), []);
});

test("a weight file beside the ONNX model is named that was changed, cut or removed", async () => {
  const target = "s3://roslin/large";
  const dependencies = { ...publishDependencies(server.settings), exportLimits: { inline: 0, data: 1e9 } };
  const { metrics, outputs } = await publish(dependencies, await finishedRun(join(root, "large"), target), context);
  assert.ok(outputs.some(({ name }) => name === "onnx/model.onnx_data"));
  assert.deepEqual(await broken(target), []);
  const large = openStore(target, server.settings);
  const key = `${String(metrics["version"])}/onnx/model.onnx_data`;
  const bytes = (await readAll(large, key))!;
  for (const change of [() => large.write(key, flipped(bytes)), () => large.write(key, bytes.subarray(0, 100)), () => large.delete(key)]) {
    await change();
    assert.deepEqual(await broken(target), [`${target}/${key}`]);
  }
  const whole = await publish(dependencies, await finishedRun(join(root, "large"), target), context);
  assert.deepEqual([whole.metrics["bytesSent"], await broken(target)], [bytes.length, []]);
});

test("a bucket's signed model holds for its key, and not with a changed signature or another file", async () => {
  const target = "s3://roslin/signed";
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pub = join(root, "pub.pem");
  writeFileSync(pub, publicKey.export({ type: "spki", format: "pem" }));
  const request = await finishedRun(join(root, "signed"), target);
  const config = parseRunConfig({ ...request.config, publish: { target, sign: { key: "env:KEY" } } });
  const dependencies = publishDependencies(server.settings, undefined, {
    variables: { KEY: privateKey.export({ type: "pkcs8", format: "pem" }).toString() },
  });
  const { metrics } = await publish(dependencies, { ...request, config }, context);
  const model = `${target}/${String(metrics["version"])}`;
  const check = (): Promise<number> => verify.run([target, "--key", pub], environment);
  assert.equal(await check(), 0);
  const signed = openStore(model, server.settings);
  await signed.write("more.bin", Buffer.from("x"));
  await assert.rejects(check(), /1 of \d+ links are broken, the first: .*model\.sig/);
  await signed.delete("more.bin");
  const bytes = (await readAll(signed, "model.sig"))!;
  // within the signed statement
  bytes.write(bytes.toString("latin1", 600, 601) === "A" ? "B" : "A", 600, "latin1");
  await signed.write("model.sig", bytes);
  await assert.rejects(check(), /1 of \d+ links are broken, the first: .*model\.sig/);
  // what was changed in the bucket is made again, by a run that had finished
  await publish(dependencies, { ...request, config }, context);
  assert.equal(await check(), 0);
});

test("of a run's stages each output is named that was changed or is gone: base weights, rows, tokens, tuned weights, report", async () => {
  for (const [name, stage, file] of [
    ["model", "download", "base/model.safetensors"],
    ["dataset", "download", "rows.json"],
    ["tokens", "preprocess", "tokens/index.json"],
    ["tuned", "train", "tuned/model.safetensors"],
    ["report", "evaluate", "evaluation.json"],
  ] as const) {
    const path = join(root, "first", file);
    const link = `${stage}'s output ${name} (${outputNamed(first.inputs, name).uri})`;
    const bytes = readFileSync(path);
    writeFileSync(path, flipped(bytes));
    assert.deepEqual(await broken(first.root), [link]);
    renameSync(path, `${path}.away`);
    assert.deepEqual(await broken(first.root), [link]);
    rmSync(`${path}.away`);
    writeFileSync(path, bytes);
  }
  assert.deepEqual(await broken(first.root), []);
});

test("the command ends with 0, 1 for what is broken, and 2 for an address where nothing is", async () => {
  const main = pathToFileURL(join(CHECKOUT, "dist", "cli", "main.js")).href;
  const script = `import(${JSON.stringify(main)}).then(async ({ main }) => process.exit(await main(process.argv.slice(1))))`;
  const call = (run: string) => {
    const child = spawnSync(process.execPath, ["--enable-source-maps", "-e", script, "verify", run], {
      env: { ...process.env, ...variables },
      encoding: "utf8",
    });
    return { status: child.status, last: child.stderr.trim().split("\n").at(-1)! };
  };
  assert.equal(call(TARGET).status, 0);
  const key = `${models[0]}/model.safetensors`;
  const { status, last } = await damaged([key], flip(key), () => Promise.resolve(call(TARGET)));
  assert.deepEqual([status, /1 of \d+ links are broken, the first: .*model\.safetensors/.test(last)], [1, true], last);
  assert.equal(call(`${TARGET}/nothing`).status, 2);
});
