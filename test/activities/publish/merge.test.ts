import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { writeMerged } from "../../../activities/publish/merge.js";
import { layoutFile } from "../../../core/format/safetensors.js";
import { elements } from "../../../core/graph/tensor.js";
import { allParameters } from "../../../core/model/family.js";
import { AdapterFiles } from "../../../infra/weights/adapter-files.js";
import { ModelFiles, SafetensorsFile } from "../../../infra/weights/model-files.js";
import { REFERENCE } from "../../core/model/reference.js";

const LORA = join(REFERENCE, "lora");
const options = { signal: new AbortController().signal, say: () => undefined };

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-merge-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

const baseOf = (name: string): string => {
  const { base, dtype } = JSON.parse(readFileSync(join(LORA, name, "expected.json"), "utf8")) as { base: string; dtype: string };
  return dtype === "float32" ? join(REFERENCE, base) : join(LORA, name, "base");
};

for (const name of readdirSync(LORA))
  test(`merged weights are PEFT's, in the base's type: ${name}`, async (t) => {
    const target = scratch(t);
    const base = new ModelFiles(baseOf(name));
    const adapter = new AdapterFiles(join(LORA, name, "final"), base.model);
    assert.deepEqual(await writeMerged(base, adapter, target, options), ["model.safetensors"]);
    cpSync(join(base.directory, "config.json"), join(target, "config.json"));
    const merged = new ModelFiles(target);
    const peft = new SafetensorsFile(join(LORA, name, "merged.safetensors"));
    let changed = 0;
    for (const spec of allParameters(base.model.parameters)) {
      const isMerged = peft.entries.has(spec.name);
      const [got, expected] = [new Float32Array(elements(spec.shape)), new Float32Array(elements(spec.shape))];
      merged.readFloats(spec.name, 0, got);
      if (isMerged) peft.readFloats(spec.name, 0, expected);
      else base.readFloats(spec.name, 0, expected);
      assert.equal(merged.dtypeOf(spec.name), base.dtypeOf(spec.name));
      if (!isMerged) assert.deepEqual(got, expected, spec.name);
      // torch adds up in fp32: of a half few are rounded to the other side, of fp32 the last bit differs
      const most = { F32: 2 ** -23, F16: 2 ** -10, BF16: 2 ** -7 }[merged.dtypeOf(spec.name) as "F32"];
      const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const far = got.filter((value, at) => Math.abs(value - expected[at]!) > most * largest).length;
      const other = got.filter((value, at) => value !== expected[at]).length;
      assert.equal(far, 0, spec.name);
      if (merged.dtypeOf(spec.name) !== "F32") assert.ok(other <= got.length / 1000, `${spec.name} ${other}`);
      if (isMerged) changed++;
    }
    assert.equal(changed, adapter.modules.length);
    for (const files of [base, adapter, merged, peft]) files.close();
  });

test("larger merged weights are several files with an index, and those that are there stay", async (t) => {
  const target = scratch(t);
  const base = new ModelFiles(baseOf("gptj-list"));
  const adapter = new AdapterFiles(join(LORA, "gptj-list/final"), base.model);
  const names = await writeMerged(base, adapter, target, { ...options, maxFileBytes: 50_000 });
  assert.ok(names.length > 3);
  assert.equal(names.at(-1), "model.safetensors.index.json");
  cpSync(join(base.directory, "config.json"), join(target, "config.json"));
  new ModelFiles(target).close();
  writeFileSync(join(target, names[0]!), "made before");
  await writeMerged(base, adapter, target, { ...options, maxFileBytes: 50_000 });
  assert.equal(readFileSync(join(target, names[0]!), "utf8"), "made before");
  base.close();
  adapter.close();
});

test("a merged weight that is infinite in the base's half precision is named, and no file is left", async (t) => {
  const [target, place] = [scratch(t), scratch(t)];
  const name = readdirSync(LORA).find(
    (each) => (JSON.parse(readFileSync(join(LORA, each, "expected.json"), "utf8")) as { dtype: string }).dtype === "float16",
  )!;
  const base = new ModelFiles(baseOf(name));
  cpSync(join(LORA, name, "final"), place, { recursive: true });
  const file = new SafetensorsFile(join(place, "adapter_model.safetensors"));
  const tensors = [...file.entries.values()];
  file.close();
  const { header, fileBytes } = layoutFile(tensors);
  const bytes = Buffer.alloc(fileBytes);
  bytes.set(header);
  new Float32Array(bytes.buffer, bytes.byteOffset + header.length, (fileBytes - header.length) / 4).fill(1000);
  writeFileSync(join(place, "adapter_model.safetensors"), bytes);
  const adapter = new AdapterFiles(place, base.model);
  await assert.rejects(writeMerged(base, adapter, target, options), {
    name: "UserError",
    message:
      /^a merged weight is not finite in the base's own dtype, F16: set publish\.merge to false.*\[tensor=.*\.weight, index=\[0,0\], got=\d+/,
  });
  assert.ok(!existsSync(join(target, "model.safetensors")));
  base.close();
  adapter.close();
});
