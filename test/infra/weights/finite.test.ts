import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { firstNonFinite, floatToBfloat, floatToHalf } from "../../../core/format/floats.js";
import { elements, indexIn } from "../../../core/graph/tensor.js";
import { allParameters, type WeightSpec } from "../../../core/model/family.js";
import { openInference } from "../../../engines/onnx/inference/open-inference.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { readParameter } from "../../../infra/weights/read-parameter.js";
import { writeSafetensors } from "../../../infra/weights/safetensors-writer.js";
import type { WeightFile } from "../../../infra/weights/weight-file.js";
import { archive, pickle, pickledTensor } from "../../core/format/archive.js";
import { REFERENCE } from "../../core/model/reference.js";

/** A weight that is not finite is found when it is read, whatever the file, and named by file, tensor and index. */

const TINY = join(REFERENCE, "gptj-tiny");
const reference = new ModelFiles(TINY);
const SPECS = allParameters(reference.model.parameters).toSorted((a, b) => (a.name < b.name ? -1 : 1));
/** A matrix, and where in it the value is put: in row 7, column 3. */
const BROKEN = "transformer.h.1.mlp.fc_in.weight";
const SHAPE = SPECS.find(({ name }) => name === BROKEN)!.shape;
const AT = 7 * SHAPE[1]! + 3;

type DType = "F32" | "F16" | "BF16";
const STORAGES = { F32: "FloatStorage", F16: "HalfStorage", BF16: "BFloat16Storage" } as const;

/** A weight of the reference in a dtype, with `value` at its place where it is the broken one. */
function bytesOf({ name, shape }: WeightSpec, dtype: DType, value: number): Uint8Array {
  const values = new Float32Array(elements(shape));
  reference.readFloats(name, 0, values);
  if (name === BROKEN) values[AT] = value;
  if (dtype === "F32") return new Uint8Array(values.buffer);
  const narrow = new Uint16Array(values.length);
  (dtype === "F16" ? floatToHalf : floatToBfloat)(values, narrow);
  return new Uint8Array(narrow.buffer);
}

async function writeSafe(directory: string, file: string, specs: readonly WeightSpec[], dtype: DType, value: number): Promise<void> {
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const tensors = specs.map(({ name, shape }) => ({ name, dtype, shape }));
  await writeSafetensors(join(directory, file), tensors, (name) => [bytesOf(byName.get(name)!, dtype, value)]);
}

function writeTorch(directory: string, file: string, specs: readonly WeightSpec[], dtype: DType, value: number): void {
  const { int, dictionary, whole } = pickle;
  const tensors = Object.fromEntries(
    specs.map(({ name, shape }, index) => {
      const stride = shape.map((_, axis) => int(elements(shape.slice(axis + 1))));
      const about = { storage: STORAGES[dtype], key: String(index), elements: int(elements(shape)), shape: shape.map(int), stride };
      return [name, pickledTensor(about)];
    }),
  );
  const storages = specs.map((spec, index) => [`w/data/${index}`, bytesOf(spec, dtype, value)] as const);
  writeFileSync(join(directory, file), archive([["w/data.pkl", whole(dictionary(tensors))], ...storages]));
}

function writeIndex(directory: string, name: string, files: Readonly<Record<string, readonly WeightSpec[]>>): void {
  const map = Object.entries(files).flatMap(([file, specs]) => specs.map((spec) => [spec.name, file]));
  writeFileSync(join(directory, name), JSON.stringify({ metadata: { total_size: 1 }, weight_map: Object.fromEntries(map) as unknown }));
}

function makeDirectory(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-finite-"));
  context.after(() => rmSync(directory, { recursive: true }));
  copyFileSync(join(TINY, "config.json"), join(directory, "config.json"));
  return directory;
}

function readAll(directory: string): void {
  const files = new ModelFiles(directory);
  try {
    for (const { name, shape } of SPECS) files.readFloats(name, 0, new Float32Array(elements(shape)));
  } finally {
    files.close();
  }
}

const half = SPECS.length >> 1;
const [FIRST, SECOND] = [SPECS.slice(0, half), SPECS.slice(half)];
const KINDS: Readonly<Record<string, (directory: string, dtype: DType, value: number) => Promise<string>>> = {
  "model.safetensors": async (directory, dtype, value) => {
    await writeSafe(directory, "model.safetensors", SPECS, dtype, value);
    return "model.safetensors";
  },
  "several safetensors": async (directory, dtype, value) => {
    const files = { "model-00001-of-00002.safetensors": FIRST, "model-00002-of-00002.safetensors": SECOND };
    for (const [file, specs] of Object.entries(files)) await writeSafe(directory, file, specs, dtype, value);
    writeIndex(directory, "model.safetensors.index.json", files);
    return Object.entries(files).find(([, specs]) => specs.some(({ name }) => name === BROKEN))![0];
  },
  "pytorch_model.bin": async (directory, dtype, value) => {
    writeTorch(directory, "pytorch_model.bin", SPECS, dtype, value);
    return "pytorch_model.bin";
  },
  "several torch files": async (directory, dtype, value) => {
    const files = { "pytorch_model-00001-of-00002.bin": FIRST, "pytorch_model-00002-of-00002.bin": SECOND };
    for (const [file, specs] of Object.entries(files)) writeTorch(directory, file, specs, dtype, value);
    writeIndex(directory, "pytorch_model.bin.index.json", files);
    return Object.entries(files).find(([, specs]) => specs.some(({ name }) => name === BROKEN))![0];
  },
};

for (const [kind, write] of Object.entries(KINDS))
  test(`${kind}: NaN and infinities in each dtype are named by file, tensor and index`, async (context) => {
    for (const dtype of ["F32", "F16", "BF16"] as const) {
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const directory = makeDirectory(context);
        const file = await write(directory, dtype, value);
        assert.throws(() => readAll(directory), {
          name: "UserError",
          message: `a weight of the model is not a finite number: get the file again, or save it again from a model that is whole [file=${join(directory, file)}, tensor=${BROKEN}, index=[7,3], got=${value}]`,
        });
      }
      const whole = makeDirectory(context);
      await write(whole, dtype, 0.5);
      readAll(whole);
    }
  });

test("a model that answers is not opened on such a file", async (context) => {
  const directory = makeDirectory(context);
  await writeSafe(directory, "model.safetensors", SPECS, "F16", Number.NaN);
  await assert.rejects(openInference(directory, new AbortController().signal), {
    name: "UserError",
    message: /tensor=transformer\.h\.1\.mlp\.fc_in\.weight, index=\[7,3\]/,
  });
});

test("in a tensor that lies transposed the index is the file's", () => {
  // [in, out] of 2 x 3: row 1, column 2 of the file is row 2, column 1 of the parameter
  const values = Float32Array.of(1, 2, 3, 4, 5, Number.NaN);
  const file: WeightFile = {
    path: "made",
    entries: new Map(),
    readFloats: (_name, first, out) => out.set(values.subarray(first, first + out.length)),
    offsetOf: () => null,
    close: () => undefined,
  };
  assert.throws(
    () => readParameter(file, { tensor: "t", shape: [2, 3], transposed: true }, 0, new Float32Array(6)),
    /file=made, tensor=t, index=\[1,2\], got=NaN/,
  );
});

test("every place in a slice is looked at, and extreme values that are finite pass", () => {
  for (let length = 1; length < 12; length++)
    for (let at = 0; at < length; at++)
      for (const value of [Number.NaN, Infinity, -Infinity]) {
        const values = new Float32Array(length).fill(3.4028234663852886e38);
        assert.equal(firstNonFinite(values), -1);
        values[at] = value;
        assert.equal(firstNonFinite(values), at, `${value} at ${at} of ${length}`);
      }
  assert.equal(firstNonFinite(Float32Array.of(-0, 1e-45, -3.4e38)), -1);
  assert.equal(indexIn([4, 5, 6], 4 * 30 - 1), "[3,4,5]");
  assert.equal(indexIn([], 0), "[]");
});
