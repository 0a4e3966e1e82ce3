import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat } from "../../../core/format/floats.js";
import { elements } from "../../../core/graph/tensor.js";
import { allParameters, type WeightSpec } from "../../../core/model/family.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { archive, pickle, pickledTensor } from "../../core/format/archive.js";

const TINY = join(import.meta.dirname, "../../../../test/reference/gptj-tiny");
const reference = new ModelFiles(TINY);
const SPECS = allParameters(reference.model.parameters);

function floats(model: ModelFiles, { name, shape }: WeightSpec): Float32Array {
  const values = new Float32Array(elements(shape));
  model.readFloats(name, 0, values);
  return values;
}

/** A directory with the reference model's config and these files; a string names one of the reference's. */
function directoryOf(context: TestContext, files: Readonly<Record<string, Uint8Array | string>>): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-model-"));
  context.after(() => rmSync(directory, { recursive: true }));
  copyFileSync(join(TINY, "config.json"), join(directory, "config.json"));
  for (const [name, data] of Object.entries(files)) {
    if (typeof data === "string") copyFileSync(join(TINY, data), join(directory, name));
    else writeFileSync(join(directory, name), data);
  }
  return directory;
}

interface Extra extends WeightSpec {
  readonly storage?: string;
  readonly data?: Uint8Array;
}

/** A torch file of the reference's weights, fp32 unless others are given. */
function torchFile(specs: readonly Extra[]): Buffer {
  const { int, dictionary, whole } = pickle;
  const tensors: Record<string, Buffer> = {};
  const storages = specs.map((spec, index) => {
    const { name, shape, storage = "FloatStorage", data = new Uint8Array(floats(reference, spec).buffer) } = spec;
    const strides = shape.map((_, axis) => int(elements(shape.slice(axis + 1))));
    tensors[name] = pickledTensor({ storage, key: String(index), elements: int(elements(shape)), shape: shape.map(int), stride: strides });
    return [`pytorch_model/data/${index}`, data] as const;
  });
  return archive([["pytorch_model/data.pkl", whole(dictionary(tensors))], ...storages]);
}

function index(files: Readonly<Record<string, readonly WeightSpec[]>>): Buffer {
  const map = Object.entries(files).flatMap(([file, specs]) => specs.map(({ name }) => [name, file]));
  return Buffer.from(JSON.stringify({ metadata: { total_size: 1 }, weight_map: Object.fromEntries(map) as unknown }));
}

function assertEqual(directory: string, round: (values: Float32Array) => void = () => undefined): void {
  const model = new ModelFiles(directory);
  for (const spec of SPECS) {
    const expected = floats(reference, spec);
    round(expected);
    assert.deepEqual(floats(model, spec), expected, spec.name);
  }
  model.close();
}

test("torch's file in half precision holds what the safetensors hold, rounded", (context) => {
  const directory = directoryOf(context, { "pytorch_model.bin": "pytorch_model.bin" });
  assert.equal(new ModelFiles(directory).dtype, "F16");
  assertEqual(directory, (values) => {
    const half = new Uint16Array(values.length);
    floatToHalf(values, half);
    halfToFloat(half, values);
  });
});

test("torch files in full and brain precision, with old checkpoints' masks beside the weights", (context) => {
  const masks: Extra[] = [0, 1].flatMap((layer) => [
    { name: `transformer.h.${layer}.attn.bias`, shape: [1, 1, 4, 4], storage: "BoolStorage", data: new Uint8Array(16) },
    { name: `transformer.h.${layer}.attn.masked_bias`, shape: [], storage: "FloatStorage", data: new Uint8Array(4) },
  ]);
  assertEqual(directoryOf(context, { "pytorch_model.bin": torchFile([...SPECS, ...masks]) }));
  const brain = (values: Float32Array): Uint16Array => {
    const narrow = new Uint16Array(values.length);
    floatToBfloat(values, narrow);
    return narrow;
  };
  const narrow = SPECS.map((spec) => ({
    ...spec,
    storage: "BFloat16Storage",
    data: new Uint8Array(brain(floats(reference, spec)).buffer),
  }));
  const directory = directoryOf(context, { "pytorch_model.bin": torchFile(narrow) });
  assert.equal(new ModelFiles(directory).dtype, "BF16");
  assertEqual(directory, (values) => bfloatToFloat(brain(values), values));
});

test("torch files in shards are found by their index", (context) => {
  const shards = { "pytorch_model-00001-of-00002.bin": SPECS.slice(0, 9), "pytorch_model-00002-of-00002.bin": SPECS.slice(9) };
  const files = Object.fromEntries(Object.entries(shards).map(([name, specs]) => [name, torchFile(specs)]));
  assertEqual(directoryOf(context, { ...files, "pytorch_model.bin.index.json": index(shards) }));
  const { "pytorch_model-00002-of-00002.bin": _, ...first } = files;
  assert.throws(() => new ModelFiles(directoryOf(context, { ...first, "pytorch_model.bin.index.json": index(shards) })), {
    name: "UserError",
    message: /missing=pytorch_model-00002-of-00002\.bin/,
  });
  for (const name of ["../w.bin", "a/w.bin", "..\\w.bin", "w.pt"])
    assert.throws(() => new ModelFiles(directoryOf(context, { "pytorch_model.bin.index.json": index({ [name]: SPECS }) })), {
      name: "UserError",
      message: /not a weight file in its directory/,
    });
  const broken = directoryOf(context, { "pytorch_model.bin.index.json": Buffer.from("{") });
  assert.throws(() => new ModelFiles(broken), { name: "UserError", message: /index is not JSON/ });
});

test("safetensors come before torch files", (context) => {
  assertEqual(directoryOf(context, { "model.safetensors": "model.safetensors", "pytorch_model.bin": Buffer.from("not read") }));
});

test("a missing, an extra and a misshapen tensor are named", (context) => {
  const changed: [readonly Extra[], RegExp][] = [
    [SPECS.slice(1), /weight is missing.*tensor=transformer\.wte\.weight, expected=\[320,64\]/],
    [[...SPECS, { name: "score.weight", shape: [1], data: new Uint8Array(4) }], /config doesn't know.*tensor=score\.weight/],
    [[{ ...SPECS[0]!, shape: [64, 320] }, ...SPECS.slice(1)], /another shape.*wte\.weight, expected=\[320,64\], got=\[64,320\]/],
    [[{ ...SPECS[0]!, storage: "IntStorage" }, ...SPECS.slice(1)], /dtype that is not trained.*wte\.weight.*got=I32/],
  ];
  for (const [specs, message] of changed) {
    const directory = directoryOf(context, { "pytorch_model.bin": torchFile(specs) });
    assert.throws(() => new ModelFiles(directory), { name: "UserError", message });
  }
  const none = directoryOf(context, {});
  assert.throws(() => new ModelFiles(none), { name: "UserError", message: /needs weights.*model\.safetensors.*pytorch_model\.bin/ });
});

test("a Git LFS pointer in place of any of a model's files is named before it is parsed", (context) => {
  const pointer = Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 2336927\n`);
  const shards = { "pytorch_model-00001-of-00002.bin": SPECS.slice(0, 9), "pytorch_model-00002-of-00002.bin": SPECS.slice(9) };
  const sharded = {
    "pytorch_model.bin.index.json": index(shards),
    "pytorch_model-00001-of-00002.bin": pointer,
    "pytorch_model-00002-of-00002.bin": pointer,
  };
  const cases: readonly Readonly<Record<string, Uint8Array | string>>[] = [
    { "model.safetensors": pointer },
    { "pytorch_model.bin": pointer },
    { "pytorch_model.bin.index.json": pointer },
    sharded,
    { "model.safetensors": "model.safetensors", "config.json": pointer },
  ];
  for (const files of cases)
    assert.throws(() => new ModelFiles(directoryOf(context, files)), { name: "UserError", message: /Git LFS pointer.*realFile=2336927/ });
});
