import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { UserError } from "../../../core/errors.js";
import { indexedFiles } from "../../../core/format/weight-index.js";
import { indexIn } from "../../../core/graph/tensor.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { convertGguf, readGguf, weightBytes } from "../../../infra/weights/convert-gguf.js";
import { SafetensorsFile } from "../../../infra/weights/model-files.js";

const FILES = join(import.meta.dirname, "../../../../test/reference/gguf-files");
const LLAMA = join(FILES, "llama.gguf");
const { weights: EXPECTED } = JSON.parse(readFileSync(join(FILES, "llama.json"), "utf8")) as { weights: Record<string, string> };
/** other bytes for the same GGUF? raise CONVERTER */
const DIGEST = "3ee47bd1cdef7faa1ca5b5efb51116ebe83d68b12fa3250fd582a4b94698e649";

const events = { signal: new AbortController().signal, onBytes: (): void => undefined };

function work(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-convert-"));
  context.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** SHA-256 of each weight of a directory as fp32. */
function digests(directory: string, names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of names) {
    const file = new SafetensorsFile(join(directory, name));
    for (const [weight, { shape }] of file.entries) {
      const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
      file.readFloats(weight, 0, values);
      found[weight] = createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex");
    }
    file.close();
  }
  return found;
}

test("a converted directory has the weights that transformers reads from the GGUF, in the same bytes each time", async (context) => {
  const directory = join(work(context), "model");
  let done = 0;
  const made = await convertGguf(LLAMA, directory, { ...events, onBytes: (bytes) => void (done = bytes) });
  assert.deepEqual(digests(directory, ["model.safetensors"]), EXPECTED);
  assert.equal(done, weightBytes(readGguf(LLAMA)));
  assert.deepEqual(readdirSync(directory).sort(), [
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
  assert.deepEqual(await artifactOf("model", directory), { name: "model", uri: (await artifactOf("model", directory)).uri, ...made });
  assert.equal(made.sha256, DIGEST);
});

test("types that are not quantized stay as they are, and the others become fp32", async (context) => {
  const directory = join(work(context), "model");
  await convertGguf(LLAMA, directory, events);
  const file = new SafetensorsFile(join(directory, "model.safetensors"));
  context.after(() => file.close());
  for (const { name, tensor } of readGguf(LLAMA).weights)
    assert.equal(file.entry(name).dtype, tensor.type.startsWith("Q") ? "F32" : tensor.type, name);
});

test("large weights become several files with an index", async (context) => {
  const directory = join(work(context), "model");
  await convertGguf(LLAMA, directory, events, 40_000);
  const index = readFileSync(join(directory, "model.safetensors.index.json"), "utf8");
  const files = indexedFiles(index, "index");
  assert.ok(files.length > 2);
  assert.deepEqual(digests(directory, files), EXPECTED);
});

test("a conversion that is killed leaves no directory, and the next one makes the same bytes", async (context) => {
  const place = work(context);
  const directory = join(place, "model");
  const child = spawn(process.execPath, [fileURLToPath(new URL("convert-gguf-child.js", import.meta.url)), LLAMA, directory]);
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.deepEqual(readdirSync(place), ["model.tmp"]);
  assert.equal((await convertGguf(LLAMA, directory, events)).sha256, DIGEST);
  assert.deepEqual(readdirSync(place), ["model"]);
});

test("a conversion that is called off ends with the reason, and leaves nothing", async (context) => {
  const place = work(context);
  const controller = new AbortController();
  const onBytes = (): void => controller.abort(new Error("enough"));
  await assert.rejects(convertGguf(LLAMA, join(place, "model"), { signal: controller.signal, onBytes }), /^Error: enough$/);
  assert.deepEqual(readdirSync(place), []);
});

test("a weight that is not a finite number is named", async (context) => {
  const place = work(context);
  const whole = readFileSync(LLAMA);
  const { weights } = readGguf(LLAMA);
  for (const [type, at, bytes] of [
    ["F32", 4, [0, 0, 0xc0, 0x7f]],
    ["F16", 2, [0, 0x7c]],
    ["BF16", 2, [0xc0, 0x7f]],
    ["Q8_0", 34, [0, 0x7c]],
    ["Q4_1", 22, [1, 0x7e]],
  ] as const) {
    const { tensor } = weights.find((weight) => weight.tensor.type === type && weight.pairedRows === undefined)!;
    const damaged = Buffer.from(whole);
    damaged.set(bytes, tensor.offset + at);
    const path = join(place, "damaged.gguf");
    writeFileSync(path, damaged);
    const index = indexIn(tensor.shape, type.startsWith("Q") ? 32 : 1);
    await assert.rejects(convertGguf(path, join(place, "model"), events), (error) => {
      assert.ok(error instanceof UserError, String(error));
      assert.match(error.message, /is not a finite number/);
      return error.message.includes(`file=${path}, tensor=${tensor.name}, index=${index}]`);
    });
  }
  assert.ok(!readdirSync(place).includes("model"));
});
