import assert from "node:assert/strict";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { download } from "../../../activities/download/download.js";
import { forecast } from "../../../activities/forecast/forecast.js";
import { plan, publishedBytes, type PlanDependencies } from "../../../activities/plan/plan-run.js";
import { parseRunConfig, withTarget, type RunConfig } from "../../../core/config/schema.js";
import { CorruptError, UserError } from "../../../core/errors.js";
import { onnxEngine } from "../../../engines/onnx/onnx-engine.js";
import { createBuckets } from "../../../infra/sources/bucket.js";
import { createHub } from "../../../infra/sources/hub/hub.js";
import { fetchPublished, findPublished, type Published } from "../../../infra/sources/published.js";
import { gpt2Tokenizer, TOKENIZER_CONFIG } from "../../../demo/tokenizer.js";
import { startTestHub } from "../../infra/sources/hub/harness.js";
import { REFERENCE } from "../../core/model/reference.js";
import { finish } from "../common/made-stages.js";
import { dependenciesFor, HUB, requestFor } from "../download/dependencies.js";
import { finishedDownload } from "../../../activities/download/definition.js";

const GB = 1e9;
let directory: string;
let config: RunConfig;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "roslin-plan-"));
  const shape = {
    model_type: "gptj",
    n_embd: 4096,
    n_head: 16,
    n_layer: 28,
    n_positions: 2048,
    rotary_dim: 64,
    vocab_size: 50400,
    tie_word_embeddings: false,
  };
  await writeFile(join(directory, "config.json"), JSON.stringify(shape));
  for (const name of ["model.safetensors", "tokenizer.json"]) await writeFile(join(directory, name), "");
  await writeFile(join(directory, "rows.json"), "[]");
  config = parseRunConfig({
    model: { source: pathToFileURL(directory).href },
    dataset: { source: pathToFileURL(join(directory, "rows.json")).href },
    train: { workers: { waitSeconds: 0 } },
  });
});
after(() => rm(directory, { recursive: true, force: true }));

/** A machine with everything that GPT-J 6B needs. */
const roomy = (): PlanDependencies => ({
  hub: createHub({ endpoint: "http://127.0.0.1:1", token: null, cacheDirectory: join(directory, "cache") }),
  buckets: createBuckets({ settings: {}, cacheDirectory: join(directory, "objects") }),
  findPublished: (uri) => findPublished(uri, {}),
  downloadedModel: async () => null,
  host: "here",
  defaultTarget: () => "s3://bucket/models",
  memory: () => ({ total: 128 * GB, available: 120 * GB }),
  disk: async () => ({ free: 1000 * GB, used: 0, directory: "/stages" }),
  checkTarget: async () => undefined,
  findLive: () => assert.fail("no rule compares with the live model"),
  fetchPublished,
  checkSigner: async () => null,
  gpuWorkers: async () => 8,
  gpuMemory: async () => [],
  shared: { workers: () => assert.fail("not shared"), checkStore: () => assert.fail("not shared"), serverHere: () => null },
  searchAttributes: async () => ["RoslinStage"],
  downloaded: (asked) => finishedDownload(asked, join(directory, "stages")),
  forecast: (asked) => forecast(asked, join(directory, "stages")),
  needs: (model, train) => onnxEngine.needs(model, train, null),
});
const context = { signal: new AbortController().signal, progress: () => undefined };

test("a run that can work here gets what depends on the place", async () => {
  const planned = await plan(roomy(), config, context);
  assert.equal(planned.config.publish.target, "s3://bucket/models");
  assert.equal(planned.host, "here");
  assert.deepEqual(planned.searchAttributes, ["RoslinStage"]);
  assert.ok(!("reportAddress" in planned));
  assert.equal((await plan({ ...roomy(), reports: "http://127.0.0.1:8234" }, config, context)).reportAddress, "http://127.0.0.1:8234");
  assert.match(planned.notes[0]!, /^6050\.9 million parameters; training takes at least 117\.3 GB of memory/);
});

test("a laptop hears all that it lacks, need against have", async () => {
  const laptop: PlanDependencies = {
    ...roomy(),
    memory: () => ({ total: 16 * GB, available: 8 * GB }),
    disk: async () => ({ free: 100 * GB, used: 1 * GB, directory: "/stages" }),
    checkTarget: async () => {
      throw new UserError("the bucket does not exist: make it, or name another", { bucket: "bucket" });
    },
    gpuWorkers: async () => 0,
  };
  await assert.rejects(plan(laptop, config, context), (error: unknown) => {
    assert.ok(error instanceof UserError);
    assert.match(error.message, /^4 things are in the way/);
    assert.match(error.message, /too little memory.*need=117\.3 GB, have=16\.0 GB/);
    assert.match(error.message, /too little room.*need=290\.4 GB, have=100\.0 GB/);
    assert.match(error.message, /the bucket does not exist/);
    assert.match(error.message, /too few GPU workers.*need=1, have=0/);
    return true;
  });
});

test("a run that trains adapters says how many parameters it trains, and what cannot be trained is said with all else", async () => {
  const trainingWith = (lora: object | null): RunConfig => parseRunConfig({ ...config, train: { ...config.train, method: "lora", lora } });
  const planned = await plan(roomy(), trainingWith({ rank: 8, targets: ["q_proj", "v_proj"] }), context);
  assert.match(
    planned.notes[0]!,
    /^6054\.6 million parameters, of which 3,670,016 in 56 adapters are trained \(LoRA\) and the others are frozen; training takes at least/,
  );
  const refused = async (lora: object, message: RegExp): Promise<void> =>
    assert.rejects(plan(roomy(), trainingWith(lora), context), { message });
  await refused({ targets: ["query"] }, /a target in train\.lora\.targets matches no linear layer.*got=query/);
  await refused({ rank: 4097 }, /rank is above its layer's width: lower train\.lora\.rank.*expected=at most 4096, got=4097/);
  await writeFile(join(directory, "adapter_config.json"), "{}");
  await refused({}, /holds a whole model and an adapter/);
  await rm(join(directory, "adapter_config.json"));
});

test("GPUs that are too small for the run's ranks are refused before anything is downloaded", async () => {
  const onGpus: PlanDependencies = {
    ...roomy(),
    gpuMemory: async () => [16 * GB, 16 * GB],
    needs: (model, train) => ({ ...onnxEngine.needs(model, train, null), deviceBytes: (ranks) => (97 * GB) / ranks }),
  };
  await assert.rejects(plan(onGpus, config, context), /a rank needs more memory than its GPU has.*ranks=2, need=48\.5 GB, have=16\.0 GB/);
  const planned = await plan({ ...onGpus, gpuMemory: async () => Array.from({ length: 8 }, () => 16 * GB) }, config, context);
  assert.match(planned.notes.join("\n"), /each of 8 ranks needs at least 12\.1 GB of its GPU's 16\.0 GB; 7 GPUs would do/);
});

test("memory of ranks on GPUs is compared with the GPUs', and of the machine's own only what the host holds", async () => {
  const onGpus: PlanDependencies = {
    ...roomy(),
    memory: () => ({ total: 64 * GB, available: 60 * GB }),
    gpuMemory: async () => Array.from({ length: 8 }, () => 40 * GB),
    needs: (model, train) => ({ ...onnxEngine.needs(model, train, null), hostBytes: 50 * GB, deviceBytes: (ranks) => (97 * GB) / ranks }),
  };
  const planned = await plan(onGpus, config, context);
  assert.match(planned.notes[0]!, /training takes at least 117\.3 GB, or 50\.0 GB where ranks are on GPUs, of memory/);
  const small = { ...onGpus, memory: () => ({ total: 32 * GB, available: 30 * GB }) };
  await assert.rejects(plan(small, config, context), /too little memory.*need=50\.0 GB, have=32\.0 GB/);
  await assert.rejects(plan({ ...onGpus, gpuMemory: async () => [] }, config, context), /too little memory.*need=117\.3 GB, have=64\.0 GB/);
});

test("memory that others use just now is worth a note, not a refusal", async () => {
  const planned = await plan({ ...roomy(), memory: () => ({ total: 128 * GB, available: 20 * GB }) }, config, context);
  assert.match(planned.notes[1]!, /memory is short now: 20\.0 GB free of 128\.0 GB/);
});

test("that a model has no tokenizer is said before its weights come", async () => {
  const bare = await mkdtemp(join(directory, "bare-"));
  for (const name of ["config.json", "model.safetensors"]) await copyFile(join(directory, name), join(bare, name));
  const ask = async (source: string): Promise<string> => (await plan(roomy(), { ...config, model: { source } }, context)).notes.join("\n");
  assert.match(
    await ask(pathToFileURL(bare).href),
    /no tokenizer\.json, nor vocab\.json with merges\.txt: only rows that have input_ids and labels/,
  );
  assert.doesNotMatch(await ask(config.model.source), /tokenizer/);
});

test("a template that is not one is refused before anything is downloaded", async () => {
  const ask = (template: string): Promise<unknown> =>
    plan(roomy(), parseRunConfig({ ...config, preprocess: { prompt: { template } } }), context);
  await assert.rejects(ask("{{ instruction }}\n{% if input %}{{ output }}"), {
    name: "UserError",
    message: /has no \{% endif %\}.*line=2/,
  });
  await assert.rejects(ask("{{ question }}{{ output }}"), { name: "UserError", message: /names=question/ });
  await ask("{{ instruction }}: {{ output }}");
});

test("a chat template that the model lacks, or a tokenizer that words need and Roslin does not read, is heard of before the weights come", async (t) => {
  const template = "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}{% endfor %}";
  const named = (more: object): string => JSON.stringify({ ...TOKENIZER_CONFIG, ...more });
  const hub = await startTestHub({
    "models/org/m/config.json": await readFile(join(directory, "config.json")),
    "models/org/m/model.safetensors": "weights",
    "models/org/m/tokenizer.json": JSON.stringify(gpt2Tokenizer()),
    "models/org/m/tokenizer_config.json": named({}),
    "datasets/org/d/rows.json": "[]",
  });
  t.after(() => hub.close());
  const places = dependenciesFor(hub.url, hub.work);
  const put = (name: string, text: string): Promise<void> => writeFile(join(hub.root, "models/org/m", name), text);
  const refused = async (settings: object, message: RegExp): Promise<void> => {
    const asked = requestFor({ ...HUB, train: { workers: { waitSeconds: 0 } }, ...settings }, hub.work);
    await assert.rejects(plan({ ...roomy(), ...places }, asked.config, context), { name: "UserError", message });
    await assert.rejects(download(places, asked, context), { name: "UserError", message });
    assert.ok(!hub.requests.some(({ path }) => path.endsWith("model.safetensors")), "weights were asked for");
  };
  const accepted = async (settings: object): Promise<void> => {
    const asked = requestFor({ ...HUB, train: { workers: { waitSeconds: 0 } }, ...settings }, hub.work);
    await plan({ ...roomy(), ...places }, asked.config, context);
  };
  const chat = { preprocess: { prompt: "chat" } };
  await refused(chat, /the model has no chat template/);
  await refused({ preprocess: { prompt: { template: "{% if input %}{{ output }}" } } }, /has no \{% endif %\}/);
  await accepted({ ...chat, dataset: { ...HUB.dataset, format: "tokens" } });
  await put("tokenizer_config.json", named({ chat_template: "{% for message in messages %}" }));
  await refused(chat, /chat template is not a Jinja template/);
  await put("tokenizer_config.json", named({ chat_template: template }));
  await accepted(chat);
  await put("tokenizer_config.json", named({ init_inputs: [1] }));
  await accepted({});
  const columns = { instruction: "question", output: "answer" };
  for (const dataset of [{ format: "sharegpt" }, { columns }])
    await refused({ dataset: { ...HUB.dataset, ...dataset } }, /the tokenizer in org\/m at \w+ cannot be used.*field=init_inputs/);
});

test("a merged model takes the disk that training takes of a whole one; an adapter alone takes none to speak of", () => {
  const bytes = (train: object, merge: boolean): number =>
    publishedBytes({ parameters: 10, trained: 1, memoryBytes: 0, diskBytes: 0 }, parseRunConfig({ train, publish: { merge } }));
  // training's own model directory is among what the engine needs
  assert.deepEqual([bytes({}, false), bytes({ method: "lora" }, true), bytes({ method: "lora" }, false)], [80, 120, 0]);
});

test("a run that was published to a target with a slash at its end is forecast as reused", async () => {
  const slashed = parseRunConfig({ ...config, publish: { target: "s3://bucket/prefix/" } });
  const root = join(directory, "slashed");
  await finish(parseRunConfig({ ...config, publish: { target: "s3://bucket/prefix" } }), root);
  const planned = await plan({ ...roomy(), forecast: (asked) => forecast(asked, root) }, slashed, context);
  assert.equal(planned.notes.at(-1), "reused: download, preprocess, train, evaluate, publish");
  const started = await forecast(
    withTarget(slashed, () => "s3://another"),
    root,
  );
  assert.ok(started.every(({ reused }) => reused));
});

test("a key that cannot sign is refused before anything is downloaded, and one that others may read is noted", async () => {
  const signed = parseRunConfig({ ...config, publish: { ...config.publish, sign: { key: "env:KEY" } } });
  const failing = { ...roomy(), checkSigner: async () => Promise.reject(new UserError("no such variable", { key: "env:KEY" })) };
  await assert.rejects(plan(failing, signed, context), { name: "UserError", message: "no such variable [key=env:KEY]" });
  await plan(failing, config, context);
  const open = { ...roomy(), checkSigner: async () => "others may read the signing key" };
  assert.ok((await plan(open, signed, context)).notes.includes("others may read the signing key"));
});

test("an error that time can cure is thrown as it is", async () => {
  const failing = { ...roomy(), checkTarget: async () => Promise.reject(new Error("connection refused")) };
  await assert.rejects(plan(failing, config, context), /^Error: connection refused$/);
});

test("with the hub out of reach a run is planned on the cache or an earlier download, and without them it waits for the hub", async (test) => {
  const model = (name: string): Promise<Buffer> => readFile(join(REFERENCE, "gptj-tiny", name));
  const server = await startTestHub({
    "models/org/m/config.json": await model("config.json"),
    "models/org/m/model.safetensors": await model("model.safetensors"),
    "datasets/org/d/rows.json": "[]",
  });
  test.after(() => server.close());
  const places = dependenciesFor(server.url, server.work);
  const request = requestFor({ ...HUB, train: { workers: { waitSeconds: 0 } } }, server.work);
  const away: PlanDependencies = { ...roomy(), ...places, downloaded: (asked) => finishedDownload(asked, request.root) };
  server.misbehave = (_, response) => (response.writeHead(503).end(), true);
  await assert.rejects(plan(away, request.config, context), { name: "UnreachableError" });
  server.misbehave = () => false;
  await download(places, request, context);
  server.misbehave = (_, response) => (response.writeHead(503).end(), true);
  await plan(away, request.config, context);
  await rm(join(server.work, "hub"), { recursive: true });
  const { notes } = await plan(away, request.config, context);
  assert.match(notes.join("\n"), /hf:\/\/org\/m@\w+, downloaded before: its source cannot be reached/);
  assert.match(notes.join("\n"), /hf:\/\/org\/d@\w+, downloaded before/);
});

test("a base that asks for dropout is planned, with a note that training goes without it", async (t) => {
  const path = join(directory, "config.json");
  const text = await readFile(path, "utf8");
  t.after(() => writeFile(path, text));
  assert.ok(!(await plan(roomy(), config, context)).notes.some((note) => note.includes("dropout")));
  await writeFile(path, JSON.stringify({ ...(JSON.parse(text) as object), resid_pdrop: 0.1 }));
  assert.equal((await plan(roomy(), config, context)).notes.filter((note) => note.includes("dropout (resid_pdrop 0.1)")).length, 1);
});

test("a rule with a metric that the run does not measure, and one against a live model that is not there, are named with all else", async () => {
  const rules = [
    { metric: "perplexity.withinput", against: "base", atMost: 1 },
    { metric: "loss", against: "live", atMost: 1 },
  ];
  const ruled = parseRunConfig({ ...config, evaluate: { gate: { rules } } });
  const asked: string[] = [];
  const nothing: PlanDependencies = { ...roomy(), findLive: async (uri) => (asked.push(uri), null), gpuWorkers: async () => 0 };
  await assert.rejects(plan(nothing, ruled, context), (error: unknown) => {
    assert.ok(error instanceof UserError);
    assert.match(error.message, /^3 things are in the way/);
    assert.match(
      error.message,
      /evaluate\.gate\.rules\.0 names a metric that this run does not measure; did you mean perplexity\.withInput\?/,
    );
    assert.match(error.message, /no latest\.json names one at the target: publish once without the rules.*target=s3:\/\/bucket\/models/);
    return true;
  });
  assert.deepEqual(asked, ["s3://bucket/models"]);
  const pinned = { ...ruled, evaluate: { ...ruled.evaluate, gate: { ...ruled.evaluate.gate, rules: [ruled.evaluate.gate.rules[1]!] } } };
  const live = { uri: "model-1", manifest: "1".repeat(64) };
  const other = { uri: "s3://bucket/models/model-1", sha256: "2".repeat(64) } as Published;
  const replaced: PlanDependencies = { ...roomy(), findLive: async (uri) => (asked.push(uri), other) };
  await assert.rejects(
    plan(replaced, { ...pinned, evaluate: { ...pinned.evaluate, live } }, context),
    /the live model is not the one that it was: leave evaluate\.live out.*expected=1+, got=2+/,
  );
  assert.equal(asked.at(-1), "s3://bucket/models/model-1");
  const damaged: PlanDependencies = { ...roomy(), findLive: () => Promise.reject(new CorruptError("latest.json is not JSON")) };
  await assert.rejects(plan(damaged, ruled, context), /cannot be used: latest\.json is not JSON\. Correct it, or remove latest\.json/);
});

test("multiple-choice tasks are looked at item by item, and those on the hub get their commit", async (t) => {
  const rows = ['{"goal":"g","sol1":"a","sol2":"b","label":1}', '{"goal":"g","sol1":"a","sol2":"b","label":-1}'];
  const hub = await startTestHub({
    "datasets/baber/piqa/validation.jsonl": rows[0]!,
    "datasets/org/quiz/test.jsonl": rows.join("\n"),
  });
  t.after(() => hub.close());
  const places: PlanDependencies = { ...roomy(), ...dependenciesFor(hub.url, hub.work) };
  const ask = (tasks: object): RunConfig => parseRunConfig({ ...config, evaluate: { tasks } });
  const { config: planned } = await plan(places, ask({ names: ["piqa"] }), context);
  assert.match(planned.evaluate.tasks!.data["piqa"]!, /^hf:\/\/baber\/piqa@[0-9a-f]{40}\?split=validation$/);
  const quiz = { name: "quiz", source: "hf://org/quiz?split=test", context: "{{goal}}", choices: ["a", "b"], answer: { index: "label" } };
  const message =
    /^2 things are in the way:\n.*items of the task quiz cannot be used: the item has no right answer .*item=2\]\n.*items of the task boolq cannot be had: the hub has no such repository/s;
  await assert.rejects(plan(places, ask({ names: [quiz, "piqa", "boolq"] }), context), { name: "UserError", message });
  const { config: limited } = await plan(places, ask({ names: [quiz], limit: 1 }), context);
  assert.equal(limited.evaluate.tasks!.names.length, 1);
  // what a file that cannot be read would measure is not known
  const gone = { names: [pathToFileURL(join(directory, "gone.json")).href] };
  const gate = { rules: [{ metric: "gone.acc", against: "base", atLeast: 1 }] };
  await assert.rejects(plan(places, parseRunConfig({ ...config, evaluate: { tasks: gone, gate } }), context), {
    message: /^the description of a task cannot be read.*gone\.json\]$/,
  });
  await rm(join(directory, "tokenizer.json"));
  t.after(() => writeFile(join(directory, "tokenizer.json"), ""));
  await assert.rejects(plan(places, ask({ names: ["piqa"] }), context), /evaluate\.tasks needs the model's tokenizer, and there is/);
});

test("requests of one's own that cannot be asked, and answers without a tokenizer, are refused before anything is downloaded", async () => {
  const asked = await mkdtemp(join(directory, "asked-"));
  for (const name of ["config.json", "model.safetensors"]) await copyFile(join(directory, name), join(asked, name));
  const refused = (evaluate: object, message: RegExp, preprocess: object = {}): Promise<void> =>
    assert.rejects(
      plan(roomy(), parseRunConfig({ ...config, model: { source: pathToFileURL(asked).href }, evaluate, preprocess }), context),
      {
        name: "UserError",
        message,
      },
    );
  const prompts = [{ instruction: "Greet." }, { instruction: "Greet.", input: "Ada" }];
  await refused({ references: 3 }, /^evaluate\.references needs the model's tokenizer, and there is no tokenizer\.json/);
  await refused({ prompts, references: 3 }, /^2 things .*\n.*evaluate\.references needs .*\n.*evaluate\.prompts needs/);
  await writeFile(join(asked, "tokenizer.json"), JSON.stringify(gpt2Tokenizer()));
  await writeFile(join(asked, "tokenizer_config.json"), JSON.stringify(TOKENIZER_CONFIG));
  const template = { prompt: { template: "{{ instruction }}: {{ output }}" } };
  await refused({ prompts }, /^evaluate\.prompts\.1 cannot be asked: .*an input.* has no room for it/, template);
  const long = [...prompts, { instruction: "long ".repeat(9000) }];
  await refused({ prompts: long }, /^evaluate\.prompts\.2 cannot be asked: .*tooLong to "cut".*positions=2048/);
  await plan(roomy(), parseRunConfig({ ...config, model: { source: pathToFileURL(asked).href }, evaluate: { prompts } }), context);
});

test("a live model that cannot take the run's rows is refused before anything is downloaded, and its bytes count as disk", async () => {
  const rules = [{ metric: "perplexity", against: "live", atMost: 1 }];
  const ruled = (preprocess: object = {}): RunConfig => parseRunConfig({ ...config, evaluate: { gate: { rules } }, preprocess });
  const files = [
    { name: "config.json", bytes: 10 },
    { name: "model.safetensors", bytes: 2000 * GB },
    { name: "onnx/model.onnx", bytes: 9000 * GB },
  ];
  const published = { uri: "s3://bucket/models/model-1", sha256: "1".repeat(64), manifest: { name: "model-1", files } } as Published;
  const shape = JSON.parse(await readFile(join(directory, "config.json"), "utf8")) as object;
  const withLive = (changes: object, tokenizer: object | null = null): PlanDependencies => ({
    ...roomy(),
    disk: async () => ({ free: 4000 * GB, used: 0, directory: "/stages" }),
    findLive: async () => published,
    fetchPublished: async (_, to, wanted) => {
      assert.deepEqual(
        files.map(({ name }) => wanted(name)),
        [true, false, false],
      );
      await writeFile(join(to, "config.json"), JSON.stringify({ ...shape, ...changes }));
      if (tokenizer !== null) await writeFile(join(to, "tokenizer.json"), JSON.stringify(tokenizer));
    },
  });
  const { notes } = await plan(withLive({}), ruled(), context);
  assert.match(notes.join("\n"), /the run 2\.3 TB of disk\n.*now model-1/s);
  await assert.rejects(plan({ ...withLive({}), disk: roomy().disk }, ruled(), context), /too little room.*need=2\.3 TB/);
  await assert.rejects(plan(withLive({ vocab_size: 320 }), ruled(), context), /the live model has fewer words than this run's/);
  await assert.rejects(plan(withLive({}, gpt2Tokenizer()), ruled(), context), /the live model has another tokenizer than this run's/);
  await assert.rejects(
    plan(withLive({ n_positions: 256 }), ruled({ maxLength: 257 }), context),
    /fewer positions than this run's rows may have tokens: lower preprocess\.maxLength.*expected=257, got=256/,
  );
  await plan(withLive({ n_positions: 256 }), ruled({ maxLength: 256 }), context);
});
