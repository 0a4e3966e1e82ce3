import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { floatToBfloat, floatToHalf } from "../../../core/format/floats.js";
import { layoutFile, type DType } from "../../../core/format/safetensors.js";
import { elements } from "../../../core/graph/tensor.js";
import { AdapterFiles } from "../../../infra/weights/adapter-files.js";
import { ModelFiles, SafetensorsFile } from "../../../infra/weights/model-files.js";
import { openInitialWeights, trainedModel } from "../../../infra/weights/trained-model.js";
import { reference, REFERENCE } from "../../core/model/reference.js";

const LIST = join(REFERENCE, "lora/gptj-list/final");
const base = reference("gptj-odd").model;
const tensors = readTensors(join(LIST, "adapter_model.safetensors"));

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

function readTensors(path: string): Tensor[] {
  const file = new SafetensorsFile(path);
  const read = [...file.entries.values()].map(({ name, shape }) => {
    const data = new Float32Array(elements(shape));
    file.readFloats(name, 0, data);
    return { name, shape, data };
  });
  file.close();
  return read;
}

/** A copy of PEFT's adapter with other tensors, or other fields of its config. */
function adapterWith(
  context: TestContext,
  others: readonly Tensor[] | null,
  { dtype = "F32", config = {} }: { dtype?: DType; config?: object } = {},
): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-adapter-"));
  context.after(() => rmSync(directory, { recursive: true }));
  cpSync(LIST, directory, { recursive: true });
  const path = join(directory, "adapter_config.json");
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), ...config }));
  if (others === null) return directory;
  const { header, entries, fileBytes } = layoutFile(others.map((tensor) => ({ ...tensor, dtype })));
  const bytes = Buffer.alloc(fileBytes);
  bytes.set(header);
  for (const { name, offset } of entries) {
    const { data } = others.find((tensor) => tensor.name === name)!;
    const narrow = new Uint16Array(data.length);
    if (dtype !== "F32") (dtype === "F16" ? floatToHalf : floatToBfloat)(data, narrow);
    const own = dtype === "F32" ? data : narrow;
    bytes.set(new Uint8Array(own.buffer, own.byteOffset, own.byteLength), offset);
  }
  writeFileSync(join(directory, "adapter_model.safetensors"), bytes);
  return directory;
}

const open = (directory: string): void => new AdapterFiles(directory, base).close();

test("an adapter that PEFT saved is read whole, and one in half precision as fp32", (t) => {
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    // an eighth is the same in all
    const rounded = tensors.map((tensor) => ({ ...tensor, data: tensor.data.map((value) => Math.round(value * 8) / 8) }));
    const files = new AdapterFiles(adapterWith(t, rounded, { dtype }), base);
    for (const { name, data } of rounded) {
      const out = new Float32Array(data.length - 1);
      files.readFloats(name, 1, out);
      assert.deepEqual(out, data.subarray(1), `${name} ${dtype}`);
    }
    files.close();
  }
});

test("an adapter for another base is named with the tensor, what was expected, and what came", (t) => {
  const [first, ...rest] = tensors as [Tensor, ...Tensor[]];
  const refused = (others: readonly Tensor[] | null, pattern: RegExp, options = {}): void =>
    assert.throws(
      () => open(adapterWith(t, others, options)),
      (error) => error instanceof UserError && pattern.test(error.message),
    );
  const [rank, width] = first.shape as [number, number];
  const wider = { ...first, shape: [rank, width + 1], data: new Float32Array(rank * (width + 1)) };
  refused([wider, ...rest], /^the adapter is for another base.*tensor=base_model\.model\..*, expected=\[\d+,\d+\], got=\[\d+,\d+\]\]$/);
  refused(rest, /^the adapter is for another base.*tensor=base_model\.model\..*, expected=\[\d+,\d+\], got=none\]$/);
  refused(
    [...tensors, { ...first, name: "base_model.model.transformer.h.0.attn.k_proj.lora_A.weight" }],
    /k_proj.*expected=none, got=\[.*extra=1\]$/,
  );
  refused([{ ...first, name: first.name.slice("base_model.model.".length) }, ...rest], /lacks the beginning base_model\.model\./);
  refused(null, /matches no linear layer of the model's blocks \[expected=of q_proj, .*, got=\["q"\]\]/, {
    config: { target_modules: ["q"] },
  });
  refused(null, /another base/, { config: { r: 5 } });
  const infinite = new AdapterFiles(adapterWith(t, [{ ...first, data: first.data.map(() => Infinity) }, ...rest]), base);
  assert.throws(() => infinite.readFloats(first.name, 0, new Float32Array(1)), /is not a finite number/);
  infinite.close();
});

test("a directory that lacks a file of an adapter, or has it cut, is a user error", (t) => {
  const bin = adapterWith(t, null);
  renameSync(join(bin, "adapter_model.safetensors"), join(bin, "adapter_model.bin"));
  assert.throws(() => open(bin), /^UserError: .*needs adapter_model\.safetensors: .*got=adapter_model\.bin/);
  rmSync(join(bin, "adapter_config.json"));
  assert.throws(() => open(bin), /^UserError: .*needs adapter_config\.json/);
  const cut = adapterWith(t, null);
  writeFileSync(join(cut, "adapter_model.safetensors"), readFileSync(join(LIST, "adapter_model.safetensors")).subarray(0, -1));
  assert.throws(() => open(cut), /^UserError: the adapter cannot be used: .*truncated/);
});

test("training goes on with the adapter beside a base, if its settings are the same", (t) => {
  const directory = adapterWith(t, null);
  cpSync(join(REFERENCE, "gptj-odd"), directory, { recursive: true });
  const files = new ModelFiles(directory);
  const train = (lora: object | null, method = "lora") => parseRunConfig({ train: { method, lora } }).train;
  const settings = { rank: 4, alpha: 8, targets: ["q_proj", "v_proj"] };
  const { parameters } = trainedModel(files, train(settings));
  const spec = parameters.blocks[0]!.find(({ name }) => name.endsWith("lora_B.weight"))!;
  const weights = openInitialWeights(files, 42);
  const out = new Float32Array(elements(spec.shape));
  weights.read(spec, 0, out);
  weights.close();
  assert.deepEqual(out, tensors.find(({ name }) => name === spec.name)!.data);
  assert.throws(
    () => trainedModel(files, train({ ...settings, alpha: 16 })),
    /^UserError: train\.lora is not as the adapter was made.*\[layer=transformer\.h\.0\.attn\.q_proj, expected=rank 4, scale 2, got=rank 4, scale 4\]$/,
  );
  assert.throws(
    () => trainedModel(files, train({ ...settings, targets: ["q_proj"] })),
    /layer=transformer\.h\.0\.attn\.v_proj, expected=rank 4, scale 2, got=no adapter/,
  );
  assert.throws(
    () => trainedModel(files, train(null, "full")),
    /the model is an adapter, and train\.method "full" trains whole models: .*publish\.merge first/,
  );
});
