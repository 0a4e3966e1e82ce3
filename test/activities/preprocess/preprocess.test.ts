import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { preprocess } from "../../../activities/preprocess/preprocess.js";
import { Stage, type StageContext, type StageRequest } from "../../../activities/common/stage.js";
import type { TokenRow, TokenSplit } from "../../../core/rows/token-rows.js";
import { UserError } from "../../../core/errors.js";
import type { Progress, StageResult } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { openTokens } from "../../../infra/dataset/tokens.js";
import { gpt2Tokenizer } from "../../../demo/tokenizer.js";
import { byteTokenizer, dependencies, readLines, requestFor, writeModel } from "./helpers.js";
import { preprocessDefinition } from "../../../activities/preprocess/definition.js";

const directory = mkdtempSync(join(tmpdir(), "roslin-preprocess-"));
after(() => rmSync(directory, { recursive: true }));
let made = 0;
const fresh = (name: string): string => join(directory, `${made++}-${name}`);
const quiet: StageContext = { signal: new AbortController().signal, progress: () => {} };

function write(name: string, rows: unknown): string {
  const path = fresh(name);
  writeFileSync(path, typeof rows === "string" ? rows : JSON.stringify(rows));
  return path;
}

const run = (request: StageRequest, context: StageContext = quiet): Promise<StageResult<"preprocess">> =>
  preprocess(dependencies, request, context);
const tokensOf = (result: StageResult): ReturnType<typeof openTokens> => openTokens(fileURLToPath(result.outputs[0]!.uri));
const rowsOf = (split: TokenSplit): TokenRow[] => Array.from({ length: split.count }, (_, index) => split.row(index));
const plain = ({ source, inputIds, labels }: TokenRow): object => ({ source, inputIds: [...inputIds], labels: [...labels] });
const alpaca = (count: number): object[] =>
  Array.from({ length: count }, (_, n) => ({ instruction: `Say ${n}.`, input: n % 3 === 0 ? `it is ${n}` : "", output: `${n * 7}` }));

const fails = (request: StageRequest, ...words: string[]): Promise<void> =>
  assert.rejects(run(request), (error: Error) => {
    assert.ok(error instanceof UserError, error.stack);
    for (const word of words) assert.ok(error.message.includes(word), `${error.message} lacks ${word}`);
    return true;
  });

test("every reference case has Dolly's tokens and labels; empty responses and cut keys are told apart", async () => {
  interface Case {
    row: object;
    drop?: string;
    input_ids?: number[];
    labels?: number[];
  }
  const reference = JSON.parse(readFileSync(new URL("../../../../test/reference/preprocess-cases.json", import.meta.url), "utf8")) as {
    cases: Case[];
  };
  const model = writeModel(fresh("gptj"), { vocab_size: 50400, eos_token_id: 50256 }, gpt2Tokenizer());
  const request = await requestFor(
    fresh("root"),
    model,
    write(
      "rows.json",
      reference.cases.map((item) => item.row),
    ),
    { testRows: 0, maxRejectShare: 1 },
  );
  const result = await run(request);
  const { train } = await tokensOf(result);
  const expected = reference.cases.flatMap((item, source) =>
    item.drop === undefined ? [{ source, inputIds: item.input_ids, labels: item.labels }] : [],
  );
  assert.deepEqual(rowsOf(train).map(plain), expected);
  const dropped = reference.cases.filter((item) => item.drop?.startsWith("empty")).length;
  const rejected = reference.cases.flatMap((item, row) => (item.drop !== undefined && !item.drop.startsWith("empty") ? [row] : []));
  assert.equal(result.metrics["dropped"], dropped);
  assert.ok(dropped > 0 && rejected.length > 0);
  const rejects = (await readLines(join(new Stage(preprocessDefinition, request).directory, "rejects.jsonl"))) as {
    row: number;
    reason: string;
  }[];
  assert.deepEqual(
    rejects.map((reject) => reject.row),
    rejected,
  );
  assert.match(rejects[0]!.reason, /longer than 1024 tokens/);
});

test("the split is drawn by the seed, rows keep the source's order, and nothing is lost", async () => {
  const dataset = write("rows.json", alpaca(40));
  const model = writeModel(fresh("model"));
  const first = await tokensOf(await run(await requestFor(fresh("root"), model, dataset, { testRows: 7 })));
  const again = await tokensOf(await run(await requestFor(fresh("root"), model, dataset, { testRows: 7 })));
  const other = await tokensOf(await run(await requestFor(fresh("root"), model, dataset, { testRows: 7, seed: 1 })));
  const sources = (split: TokenSplit): number[] => rowsOf(split).map((row) => row.source);
  assert.equal(first.test.count, 7);
  assert.deepEqual(
    sources(first.test),
    sources(first.test).toSorted((a, b) => a - b),
  );
  assert.deepEqual(
    [...sources(first.train), ...sources(first.test)].sort((a, b) => a - b),
    [...Array(40).keys()],
  );
  assert.deepEqual(sources(again.test), sources(first.test));
  assert.notDeepEqual(sources(other.test), sources(first.test));
});

test("an abort in the middle costs one chunk at most, and the digest is that of an undisturbed run", async () => {
  const dataset = write(
    "rows.jsonl",
    alpaca(13_000)
      .map((row) => JSON.stringify(row))
      .join("\n"),
  );
  const model = writeModel(fresh("model"));
  const undisturbed = await run(await requestFor(fresh("root"), model, dataset, { testRows: 100 }));
  const request = await requestFor(fresh("root"), model, dataset, { testRows: 100 });
  const stop = new AbortController();
  const stopping = ({ done }: Progress): void => void (done >= 8192 && stop.abort(new Error("paused")));
  await assert.rejects(run(request, { signal: stop.signal, progress: stopping }), /paused/);
  const tokens = join(new Stage(preprocessDefinition, request).directory, "tokens");
  const finished = readdirSync(join(tokens, "..", "chunks"))
    .filter((name) => name.endsWith(".json"))
    .map((name) => join(tokens, name.replace(".json", ".safetensors")));
  assert.ok(finished.length >= 2 && !existsSync(join(tokens, "index.json")));
  const before = finished.map((path) => statSync(path).mtimeMs);
  // what a kill in the middle of a write leaves, and a finished file that went bad
  writeFileSync(join(tokens, "000003.safetensors.99.tmp"), "half");
  writeFileSync(finished[0]!, "damaged");
  const resumed = await run(request);
  assert.equal(resumed.outputs[0]!.sha256, undisturbed.outputs[0]!.sha256);
  assert.deepEqual(resumed.metrics["lengths"], undisturbed.metrics["lengths"]);
  assert.equal(resumed.metrics["lossShare"], undisturbed.metrics["lossShare"]);
  const after = finished.map((path) => statSync(path).mtimeMs);
  assert.deepEqual(after.slice(1), before.slice(1), "a finished chunk was made again");
  assert.notEqual(after[0], before[0]);
  assert.deepEqual(readdirSync(tokens).length, 5);
  assert.equal(undisturbed.reused, false);
  assert.deepEqual(await run(request), { ...resumed, reused: true });
});

test("any number of threads makes the same tokens and figures", async () => {
  const dataset = write("rows.json", [...alpaca(9000), ...alpaca(200), { instruction: "x", output: "" }, { instruction: 5, output: "y" }]);
  const model = writeModel(fresh("model"));
  const results = [];
  for (const threads of [1, 2, 5]) {
    const request = await requestFor(fresh("root"), model, dataset, { testRows: 100 });
    results.push(await preprocess({ ...dependencies, threads }, request, quiet));
  }
  const [one, ...others] = results.map(({ outputs: [tokens], metrics: { seconds: _s, rowsPerSecond: _r, ...figures } }) => ({
    sha256: tokens!.sha256,
    bytes: tokens!.bytes,
    figures,
  }));
  assert.deepEqual([one!.figures["duplicates"], one!.figures["dropped"], one!.figures["rejected"]], [200, 1, 1]);
  for (const other of others) assert.deepEqual(other, one);
  const { sha256, bytes } = await artifactOf("tokens", fileURLToPath(results[0]!.outputs[0]!.uri));
  assert.deepEqual([one!.sha256, one!.bytes], [sha256, bytes]);
});

test("an abort is heard in the middle of a chunk, so the event loop gets its turn there", async () => {
  // millions of characters: far more than the milliseconds after which the loop is due
  const rows = Array.from({ length: 4000 }, (_, n) => ({ instruction: `Count ${n}.`, output: `${n} `.repeat(500) }));
  const request = await requestFor(fresh("root"), writeModel(fresh("model")), write("rows.json", rows), { testRows: 0 });
  const stop = new AbortController();
  const stopping = {
    ...dependencies,
    async *readRows(...args: Parameters<typeof dependencies.readRows>) {
      yield* dependencies.readRows(...args);
      // all rows are read, and their only chunk begins
      setTimeout(() => stop.abort(new Error("paused")), 1);
    },
  };
  await assert.rejects(preprocess(stopping, request, { ...quiet, signal: stop.signal }), /paused/);
  const tokens = join(new Stage(preprocessDefinition, request).directory, "tokens");
  assert.deepEqual(existsSync(tokens) ? readdirSync(tokens) : [], []);
});

test("progress counts the rows of the source", async () => {
  const progress: Progress[] = [];
  const request = await requestFor(fresh("root"), writeModel(fresh("model")), write("rows.json", alpaca(8000)), { testRows: 0 });
  await run(request, { ...quiet, progress: (one) => progress.push(one) });
  assert.deepEqual(progress.at(-1), { stage: "preprocess", done: 8000, total: 8000, unit: "rows" });
});

test("metrics count what became of the rows", async () => {
  const rows = [
    ...alpaca(4),
    ...alpaca(1),
    { instruction: "a", output: " \n" },
    { instruction: "b", output: null },
    { instruction: "c" },
    { instruction: "d", output: "long ".repeat(40) },
  ];
  const { metrics } = await run(
    await requestFor(fresh("root"), writeModel(fresh("model")), write("rows.json", rows), {
      testRows: 1,
      maxLength: 300,
      maxRejectShare: 0.2,
    }),
  );
  const { seconds, rowsPerSecond, tokens, lossShare, lengths, ...counts } = metrics as unknown as Record<string, number> & {
    lengths: Record<string, number>;
  };
  assert.deepEqual(counts, {
    ...{ cutAt: 300, rows: 9, trainRows: 5, testRows: 1, dropped: 2, rejected: 1, truncated: 1, withoutLoss: 0, duplicates: 1 },
    usedColumns: "instruction, input, output",
  });
  assert.ok(seconds! > 0 && rowsPerSecond! > 0 && tokens! > 1000 && lossShare! > 0 && lossShare! < 1);
  assert.equal(
    Object.values(lengths).reduce((sum, count) => sum + count, 0),
    6,
  );
});

test("bad rows are set aside with their reasons; too many stop the stage and name the first", async () => {
  const rows = [...alpaca(17), { instruction: 5, output: "x" }, { instruction: "x", output: ["y"] }, { output: "z" }];
  const model = writeModel(fresh("model"));
  const dataset = write("rows.json", rows);
  const lenient = await requestFor(fresh("root"), model, dataset, { testRows: 1, maxRejectShare: 0.15 });
  await run(lenient);
  assert.deepEqual(await readLines(join(new Stage(preprocessDefinition, lenient).directory, "rejects.jsonl")), [
    { row: 17, reason: "instruction: expected text, got number" },
    { row: 18, reason: "output: expected text, got a list" },
    { row: 19, reason: "instruction is missing" },
  ]);
  const strict = await requestFor(fresh("root"), model, dataset, { testRows: 1, maxRejectShare: 0.14 });
  await fails(strict, "row 17: instruction: expected text, got number; row 18", "bad=3", "rows=20", "maxRejectShare=0.14", "rejects.jsonl");
  assert.ok(existsSync(join(new Stage(preprocessDefinition, strict).directory, "rejects.jsonl")));
  await fails(strict, "bad=3");
});

test("a row that no tokenizer could take for text is set aside, however deep or torn", async () => {
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  const lines = [
    '{"instruction": "\\ud83d", "output": "x"}',
    `{"instruction": ${deep}, "output": "x"}`,
    '{"instruction": {"a": {}}, "output": "x"}',
  ];
  const request = await requestFor(
    fresh("root"),
    writeModel(fresh("model")),
    write("rows.jsonl", [...lines, ...alpaca(3).map((row) => JSON.stringify(row))].join("\n")),
    { testRows: 1, maxRejectShare: 0.5 },
  );
  await run(request);
  assert.deepEqual(await readLines(join(new Stage(preprocessDefinition, request).directory, "rejects.jsonl")), [
    { row: 0, reason: "instruction: half of a surrogate pair is not a character" },
    { row: 1, reason: "instruction: expected text, got a list" },
    { row: 2, reason: "instruction: expected text, got object" },
  ]);
});

test("huge rows make for fewer in a chunk, so that memory stays bounded", async () => {
  const rows = [{ instruction: "huge", output: "word ".repeat(7 << 20) }, ...alpaca(5000)];
  const result = await run(
    await requestFor(fresh("root"), writeModel(fresh("model")), write("rows.json", rows), { testRows: 1, maxLength: 300 }),
  );
  const { index, train } = await tokensOf(result);
  assert.deepEqual(
    index.chunks.map((chunk) => chunk.rows),
    [1, 4096, 904],
  );
  assert.equal(train.row(train.count - 1).source, 5000);
});

test("a model that takes shorter rows than maxLength cuts them at its own length", async () => {
  const rows = [...alpaca(3), { instruction: "long", output: "word ".repeat(400) }];
  const { metrics } = await run(
    await requestFor(fresh("root"), writeModel(fresh("model"), { n_positions: 512 }), write("rows.json", rows), { testRows: 0 }),
  );
  assert.equal(metrics["cutAt"], 512);
  assert.equal(metrics["truncated"], 1);
});

test("rows that are tokens already are taken as they are, without a tokenizer, whatever maxLength says", async () => {
  const good = [
    { input_ids: [1, 2, 3], labels: [-100, 2, 3] },
    { input_ids: [259, 258], labels: [0, 0] },
    { input_ids: Array(16).fill(7), labels: Array(16).fill(7) },
  ];
  const bad: [object, RegExp][] = [
    [{ input_ids: [1, 260], labels: [1, 2] }, /input_ids: 260 is outside the model's vocabulary of 260/],
    [{ input_ids: [1, -1], labels: [1, 2] }, /input_ids: -1/],
    [{ input_ids: [1, 2], labels: [1, -99] }, /labels: -99/],
    [{ input_ids: [1, 2], labels: [1] }, /differ in length: 2 and 1/],
    [{ input_ids: [1.5], labels: [1] }, /input_ids: expected a list of whole numbers/],
    [{ input_ids: [1], labels: "1" }, /labels: expected a list/],
    [{ input_ids: [], labels: [] }, /empty/],
    [{ input_ids: Array(17).fill(1), labels: Array(17).fill(1) }, /17 tokens.*16 positions/],
    [{ text: "no tokens" }, /input_ids: expected/],
  ];
  const model = writeModel(fresh("model"), { n_positions: 16 }, null);
  const request = await requestFor(
    fresh("root"),
    model,
    write("rows.jsonl", [...good, ...bad.map(([row]) => row)].map((row) => JSON.stringify(row)).join("\n")),
    { testRows: 0, maxRejectShare: 0.9 },
  );
  const { train } = await tokensOf(await run(request));
  assert.deepEqual(
    rowsOf(train).map(plain),
    good.map((row, source) => ({ source, inputIds: row.input_ids, labels: row.labels })),
  );
  const rejects = (await readLines(join(new Stage(preprocessDefinition, request).directory, "rejects.jsonl"))) as { reason: string }[];
  bad.forEach(([, reason], index) => assert.match(rejects[index]!.reason, reason));
});

test("rows of CSV, lines and JSON give the same tokens", async () => {
  const model = writeModel(fresh("model"));
  const rows = [
    { instruction: 'Say "hi", now', input: "", output: "hi\nthere" },
    { instruction: "é", input: "日本", output: "🙂" },
  ];
  const csv = `output,instruction,input\n${rows.map((row) => [row.output, row.instruction, row.input].map((text) => `"${text.replaceAll('"', '""')}"`).join(",")).join("\n")}\n`;
  const sources = [write("a.json", rows), write("a.jsonl", rows.map((row) => JSON.stringify(row)).join("\n")), write("a.csv", csv)];
  const all = await Promise.all(
    sources.map(async (source) =>
      rowsOf((await tokensOf(await run(await requestFor(fresh("root"), model, source, { testRows: 0 })))).train).map(plain),
    ),
  );
  assert.deepEqual(all[1], all[0]);
  assert.deepEqual(all[2], all[0]);
});

test("all user errors are said in one message", async () => {
  const model = writeModel(fresh("model"));
  const rows = write("rows.json", alpaca(5));
  const request = (dataset: string, settings: object, directoryOfModel = model): Promise<StageRequest> =>
    requestFor(fresh("root"), directoryOfModel, dataset, settings);
  await fails(
    await request(write("qa.json", [{ question: "a", answer: "b" }]), {}),
    "of no format",
    "dataset.columns",
    "columns question, answer",
    "instruction, output",
    "input_ids and labels",
    "qa.json",
  );
  await fails(await request(write("qa.csv", "question,answer\n"), {}), "columns question, answer");
  await fails(await request(write("none.json", "[]"), {}), "no rows");
  await fails(await request(write("header.csv", "instruction,input,output\n"), {}), "the dataset has no rows", "header.csv");
  await fails(await request(write("bad.jsonl", "no json\n{"), {}), "of no format", "line 1");
  await fails(await request(rows, { testRows: 5 }), "testRows=5", "rows=5");
  await fails(await request(rows, { testRows: 1000 }), "testRows=1000", "rows=5");
  await fails(await request(write("empty.json", [{ instruction: "a", output: "" }]), { testRows: 0 }), "empty response", "rows=1");
  await fails(
    await request(write("masked.json", [{ input_ids: [1, 2], labels: [2, -100] }]), { testRows: 0 }),
    "no token of the training rows carries loss",
  );
  await fails(await request(rows, { testRows: 0, maxLength: 9, maxRejectShare: 1 }), "longer than 9 tokens", "bad=5");
  await fails(await request(rows, { testRows: 1 }, writeModel(fresh("bare"), {}, null)), "tokenizer.json", "missing");
  await fails(
    await request(rows, { testRows: 1 }, writeModel(fresh("other"), {}, { ...byteTokenizer, model: { type: "Unigram" } })),
    "byte-level BPE",
  );
  await fails(await request(rows, { testRows: 1 }, writeModel(fresh("bert"), { model_type: "bert" })), "model_type", "bert");
  await fails(
    await request(rows, { testRows: 1, maxRejectShare: 0 }, writeModel(fresh("small"), { vocab_size: 64, eos_token_id: 63 })),
    "beyond the model's vocabulary of 64",
  );
});

test("a token file that was changed is not trained on", async () => {
  const result = await run(await requestFor(fresh("root"), writeModel(fresh("model")), write("rows.json", alpaca(5)), { testRows: 1 }));
  const path = join(fileURLToPath(result.outputs[0]!.uri), "000000.safetensors");
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(path, bytes);
  await assert.rejects(tokensOf(result), { name: "CorruptError", message: /000000\.safetensors/ });
  rmSync(path);
  await assert.rejects(tokensOf(result), { name: "CorruptError", message: /missing.*000000\.safetensors/ });
});

test("the output's digest is pinned: who changes it on purpose raises the stage's version", async () => {
  const rows = [
    ...alpaca(20),
    { instruction: "é", input: "日本", output: "🙂<|endoftext|>" },
    { instruction: "x", output: "" },
    { instruction: "y" },
  ];
  const result = await run(
    await requestFor(fresh("root"), writeModel(fresh("model")), write("rows.json", rows), { testRows: 4, maxLength: 400 }),
  );
  assert.deepEqual(
    [preprocessDefinition.version, result.outputs[0]!.sha256],
    [5, "29e6f3d89bb620ef37eb1125ec8146a2095a7818c045ae9068d721a3719377f9"],
  );
});

test("a thread that ends without a word ends the stage at once", { timeout: 120_000 }, async () => {
  const startThread = (): Worker => new Worker("process.exit(0)", { eval: true });
  const request = await requestFor(fresh("root"), writeModel(fresh("model")), write("rows.json", alpaca(10)), { testRows: 2 });
  await assert.rejects(preprocess({ ...dependencies, startThread }, request, quiet), { message: "a thread that makes tokens ended" });
});
