import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { generate } from "../../../cli/commands/generate.js";
import { LORA_DEFAULTS } from "../../../core/config/lora.js";
import { elements } from "../../../core/graph/tensor.js";
import { trainedParameters } from "../../../core/model/family.js";
import { planAdapter, withAdapter } from "../../../core/model/lora/adapter.js";
import { adapterConfigText } from "../../../core/model/lora/adapter-config.js";
import { writeSafetensors } from "../../../infra/weights/safetensors-writer.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { byteTokenizer } from "../../activities/preprocess/helpers.js";
import { generator } from "../../core/model/gptj/made.js";
import { reference, REFERENCE } from "../../core/model/reference.js";

/** `roslin generate` with an adapter's directory. */

const root = mkdtempSync(join(tmpdir(), "roslin-generate-"));
after(() => rmSync(root, { recursive: true }));
const environment = readEnvironment({ ROSLIN_HOME: join(root, "home"), HF_ENDPOINT: "http://127.0.0.1:9" }, CHECKOUT);

const base = join(root, "base");
cpSync(join(REFERENCE, "gptj-tiny"), base, { recursive: true });
writeFileSync(join(base, "tokenizer.json"), JSON.stringify(byteTokenizer));
const chat_template = "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}";
writeFileSync(join(base, "tokenizer_config.json"), JSON.stringify({ chat_template, eos_token: "<|endoftext|>" }));

/** An adapter of this base with made weights, whose config names `name`. */
async function adapter(name: string | null): Promise<string> {
  const directory = join(root, `adapter of ${name === null ? "none" : name.length}`);
  const { model } = reference("gptj-tiny");
  const modules = planAdapter(model, { ...LORA_DEFAULTS, rank: 2 });
  const specs = trainedParameters(withAdapter(model, modules, { typeOf: () => null, dropout: false }).parameters);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "adapter_config.json"), adapterConfigText(model, modules, { dropout: 0, base: { name, revision: null } }));
  const next = generator(7);
  await writeSafetensors(
    join(directory, "adapter_model.safetensors"),
    specs.map((spec) => ({ ...spec, dtype: "F32" })),
    (each) => {
      const { shape } = specs.find((spec) => spec.name === each)!;
      return [new Uint8Array(Float32Array.from({ length: elements(shape) }, () => next() - 0.5).buffer)];
    },
  );
  return directory;
}

async function said(model: string): Promise<string> {
  const write = process.stdout.write.bind(process.stdout);
  let text = "";
  // what is not text is the test runner's
  process.stdout.write = (part: string | Uint8Array) => (typeof part === "string" ? ((text += part), true) : write(part));
  try {
    await generate.run([model, "--prompt", "AB", "--template", "chat", "--max-tokens", "6"], environment);
  } finally {
    process.stdout.write = write;
  }
  return text.trim();
}

test("an adapter's directory answers with its base, which it names, and otherwise than the base alone", async () => {
  const alone = await said(base);
  const both = await said(await adapter(base));
  assert.notEqual(both, alone);
  assert.notEqual(both, "");
});

test("an adapter whose base is not there is a clear error", async () => {
  await assert.rejects(
    said(await adapter(null)),
    /^UserError: the adapter does not name its base: set base_model_name_or_path in its adapter_config\.json/,
  );
  await assert.rejects(said(await adapter(join(root, "gone"))), /^UserError: the model's source cannot be read \[path=.*gone\]/);
});
