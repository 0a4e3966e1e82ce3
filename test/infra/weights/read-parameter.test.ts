import assert from "node:assert/strict";
import { test } from "node:test";
import { elements } from "../../../core/graph/tensor.js";
import { FAMILIES } from "../../../core/model/families.js";
import { allParameters } from "../../../core/model/family.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { readParameter } from "../../../infra/weights/read-parameter.js";
import type { WeightFile } from "../../../infra/weights/weight-file.js";
import { madeToy, toyDirectory, toyTensors, type FileTensor } from "../../core/model/toy/made.js";
import { toy } from "../../core/model/toy/toy.js";

const { model, weights } = madeToy(5);
const parameters = allParameters(model.parameters);

test("fused, permuted and transposed tensors are read as the parameters that they hold, whole and in any part", (context) => {
  const files = new ModelFiles(toyDirectory(context, toyTensors(weights)), [...FAMILIES, toy]);
  context.after(() => files.close());
  for (const { name, shape } of parameters) {
    const count = elements(shape);
    for (let first = 0; first < count; first += 3)
      for (const length of [0, 1, 7, shape.at(-1)!, count - first].filter((length) => first + length <= count)) {
        const part = new Float32Array(length);
        files.readFloats(name, first, part);
        assert.deepEqual(part, weights.get(name)!.slice(first, first + length), `${name}, ${length} from ${first} on`);
      }
  }
  assert.throws(() => files.readFloats("0/qkv", 0, new Float32Array(1)), /no such parameter.*parameter=0\/qkv/);
});

test("rows that follow each other in the file are read at once", () => {
  const tensors = toyTensors(weights);
  const calls: [first: number, length: number][] = [];
  const file: WeightFile = {
    path: "made",
    entries: new Map(),
    readFloats(name, first, out) {
      calls.push([first, out.length]);
      out.set(tensors[name]!.values.subarray(first, first + out.length));
    },
    offsetOf: () => null,
    close: () => undefined,
  };
  const callsOf = (name: string): typeof calls => {
    const spec = parameters.find((each) => each.name === name)!;
    calls.length = 0;
    readParameter(file, model.family.source(model.shape, spec), 0, new Float32Array(elements(spec.shape)));
    return calls.slice();
  };
  assert.deepEqual(callsOf("words"), [[0, 13 * 8]]);
  // four rows of eight, in the third part of each head
  assert.deepEqual(callsOf("0/w.v"), [
    [64, 32],
    [160, 32],
  ]);
  assert.equal(callsOf("0/w.q").length, 8);
  assert.equal(callsOf("0/up").length, 8, "a column of all its rows for each of eight inputs");
});

test("tensors that are missing, misshapen or too many are named as the files name them; a buffer is none too many", (context) => {
  const tensors = toyTensors(weights);
  const opened = (changed: Record<string, FileTensor>): void => new ModelFiles(toyDirectory(context, changed), [toy]).close();
  const one = { shape: [1], values: new Float32Array(1) };
  opened({ ...tensors, "layers.1.positions": one });
  const { "layers.1.qkv": qkv, ...rest } = tensors;
  const wrong: [Record<string, FileTensor>, RegExp][] = [
    [rest, /weight is missing.*tensor=layers\.1\.qkv, expected=\[24,8\]/],
    [
      { ...tensors, "layers.1.up": { ...tensors["layers.1.up"]!, shape: [12, 8] } },
      /another shape.*layers\.1\.up, expected=\[8,12\], got=\[12,8\]/,
    ],
    [{ ...rest, "layers.1.qkv": qkv!, "layers.2.qkv": one }, /config doesn't know.*tensor=layers\.2\.qkv/],
  ];
  for (const [changed, message] of wrong) assert.throws(() => opened(changed), { name: "UserError", message });
});
