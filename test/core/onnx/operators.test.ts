import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gradients } from "../../../core/onnx/gradients.js";
import { GraphBuilder, type RowGeometry, type Value } from "../../../core/onnx/graph.js";
import { encode } from "../../../core/onnx/lower.js";
import type { OpName } from "../../../core/onnx/ops.js";
import { floats, int32s, int64s, type Tensor } from "../../../core/onnx/tensor.js";
import { createSession } from "../../../infra/onnx/session.js";

/** A graph to differentiate: float inputs by shape, fixed inputs by tensor, and what to make of them. */
interface Case {
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Readonly<Record<string, Tensor>>;
  build(g: GraphBuilder, x: Readonly<Record<string, Value>>): Value;
}

const unary = (build: (g: GraphBuilder, x: Value) => Value): Case => ({ inputs: { x: [2, 3, 4] }, build: (g, { x }) => build(g, x!) });
const binary = (build: (g: GraphBuilder, a: Value, b: Value) => Value, left = [2, 3, 4], right = [3, 1]): Case => ({
  inputs: { a: left, b: right },
  build: (g, { a, b }) => build(g, a!, b!),
});

/** Two rows of 1 and 3 tokens, two heads of 2: T = 4, L = 3. */
const geometry: Readonly<Record<string, Tensor>> = {
  slots: int32s(Int32Array.of(0, 0, 0, 1, 1, 1, 2, 4, 6, 3, 5, 7), 2, 2, 3),
  unpad: int32s(Int32Array.of(0, 3, 6, 9, 7, 10, 8, 11), 4, 2),
  valid: floats(Float32Array.of(1, 0, 0, 1, 1, 1), 2, 1, 3, 1),
};
const rows = ({ slots, unpad, valid }: Readonly<Record<string, Value>>): RowGeometry => ({ slots: slots!, unpad: unpad!, valid: valid! });
const angles = Float32Array.of(0.3, 1.1, -0.7, 2, 0, 0.5, 1.4, -2.2, 3);
const rotation = { cos: floats(angles.map(Math.cos), 3, 3), sin: floats(angles.map(Math.sin), 3, 3) };

const cases: Readonly<Record<OpName, readonly Case[] | "none">> = {
  Add: [binary((g, a, b) => g.add(a, b)), binary((g, a, b) => g.add(a, b), [3, 1], [2, 1, 4])],
  Sub: [binary((g, a, b) => g.sub(a, b))],
  Mul: [binary((g, a, b) => g.mul(a, b)), binary((g, a, b) => g.mul(a, b), [], [2, 3])],
  Div: [binary((g, a, b) => g.div(a, g.exp(b)))],
  Neg: [unary((g, x) => g.neg(x))],
  Exp: [unary((g, x) => g.exp(x))],
  Sigmoid: [unary((g, x) => g.sigmoid(x))],
  Gelu: [unary((g, x) => g.gelu(x))],
  Softmax: [unary((g, x) => g.softmax(x))],
  ReduceSum: "none",
  ReduceMax: "none",
  MatMul: [false, true].flatMap((transA) =>
    [false, true].map((transB) =>
      binary(
        (g, a, b) => g.matMul(a, b, { transA, transB, alpha: 0.7 }),
        transA ? [2, 1, 4, 3] : [2, 1, 3, 4],
        transB ? [5, 2, 4] : [5, 4, 2],
      ),
    ),
  ),
  Linear: [{ inputs: { x: [3, 4], weight: [5, 4], bias: [5] }, build: (g, { x, weight, bias }) => g.linear(x!, weight!, bias!) }],
  LayerNorm: [{ inputs: { x: [3, 5], weight: [5], bias: [5] }, build: (g, { x, weight, bias }) => g.layerNorm(x!, weight!, bias!, 1e-5) }],
  // pairs of a part of the head, of the whole head, and of a single odd-sized head
  Rotary: [
    { inputs: { x: [3, 16] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 2, 6) },
    { inputs: { x: [3, 12] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 2, 6) },
    { inputs: { x: [3, 7] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 1, 6) },
  ],
  // padding must not matter: what follows looks at real slots only
  PadRows: [{ inputs: { x: [4, 4] }, fixed: geometry, build: (g, x) => g.mul(g.padRows(x["x"]!, rows(x)), x["valid"]!) }],
  UnpadRows: [{ inputs: { x: [2, 2, 3, 2] }, fixed: geometry, build: (g, x) => g.unpadRows(x["x"]!, rows(x)) }],
  Attend: [
    {
      inputs: { q: [2, 1, 3, 4], k: [2, 1, 3, 4], v: [2, 1, 3, 4] },
      fixed: {
        mask: floats(Float32Array.of(0, -1e30, -1e30, 0, 0, -1e30, 0, 0, 0), 3, 3),
        choice: floats(Float32Array.of(0, 1, 1), 3, 1),
      },
      build: (g, { q, k, v, mask, choice }) => g.attend(q!, k!, v!, mask!, choice!, 0.8),
    },
  ],
  SubtractOneHot: [
    { inputs: { x: [3, 4] }, fixed: { targets: int64s([2, -1, 0], 3) }, build: (g, { x, targets }) => g.subtractOneHot(x!, targets!) },
  ],
  Reshape: [unary((g, x) => g.reshape(x, 4, 6))],
  Transpose: [unary((g, x) => g.transpose(x, 2, 0, 1))],
  Concat: "none",
  Gather: "none",
  SplitHeads: "none",
  MaskScores: "none",
  LastRows: "none",
  GroupRows: "none",
};

/** Numbers between -1 and 1 that depend on the index alone. */
const spread = (length: number, salt: number): Float32Array =>
  Float32Array.from({ length }, (_, index) => Math.sin(7 * index + 13 * salt + 1));
const size = (shape: readonly (number | string)[]): number => shape.reduce<number>((product, axis) => product * (axis as number), 1);

/** Compares generated gradients with central differences of the forward graph; gives the worst difference. */
async function worstDifference({ inputs, fixed = {}, build }: Case): Promise<number> {
  const g = new GraphBuilder();
  const floating = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, g.input(name, "float32", ...shape)]));
  const constant = Object.fromEntries(Object.entries(fixed).map(([name, { type, shape }]) => [name, g.input(name, type, ...shape)]));
  const y = build(g, { ...floating, ...constant });
  const forward = await createSession(encode(g.program("forward", { y })), { threads: 1 });
  const seed = g.input("seed", "float32", ...y.shape);
  const found = gradients(g, [[y, seed]], Object.values(floating));
  const outputs = Object.fromEntries(Object.keys(inputs).map((name, index) => [`d.${name}`, found[index]!]));
  const backward = await createSession(encode(g.program("backward", outputs)), { threads: 1 });

  const values = Object.fromEntries(
    Object.entries(inputs).map(([name, shape], index) => [name, floats(spread(size(shape), index), ...shape)]),
  );
  const weights = spread(size(y.shape), 99);
  const feeds = { ...values, ...fixed };
  const got = await backward.run(
    { ...feeds, seed: floats(weights, ...(y.shape as number[])) },
    Object.fromEntries(Object.keys(outputs).map((name) => [name, null])),
  );
  const loss = async (): Promise<number> => {
    const result = (await forward.run(feeds, { y: null }))["y"]!.data as Float32Array;
    return result.reduce((sum, value, index) => sum + value * weights[index]!, 0);
  };
  let worst = 0;
  for (const [name, { data }] of Object.entries(values)) {
    const slope = got[`d.${name}`]!;
    assert.deepEqual(slope.shape, inputs[name]);
    for (let index = 0; index < data.length; index++) {
      const before = (data as Float32Array)[index]!;
      const at = async (value: number): Promise<number> => {
        (data as Float32Array)[index] = value;
        return loss();
      };
      const numeric = ((await at(before + 0.01)) - (await at(before - 0.01))) / 0.02;
      (data as Float32Array)[index] = before;
      worst = Math.max(worst, Math.abs(numeric - Number(slope.data[index])));
    }
  }
  await forward.close();
  await backward.close();
  return worst;
}

describe("gradient rules agree with central differences", () => {
  for (const [op, list] of Object.entries(cases)) {
    if (list === "none") continue;
    it(op, async () => {
      for (const one of list) assert.ok((await worstDifference(one)) < 1e-3);
    });
  }
});

describe("gradients", () => {
  it("refuses operators whose gradient is made elsewhere", () => {
    const g = new GraphBuilder();
    const table = g.input("table", "float32", 5, 2);
    const y = g.gather(table, g.input("ids", "int32", "T"));
    assert.throws(() => gradients(g, [[y, g.input("dy", "float32", "T", 2)]], [table]), /Gather has no gradient inside graphs/);
  });

  it("refuses a wanted value that nothing depends on, by name", () => {
    const g = new GraphBuilder();
    const x = g.input("x", "float32", 2);
    assert.throws(() => gradients(g, [[g.neg(x), x]], [g.input("lonely", "float32", 2)]), /depends on lonely/);
  });

  it("adds up what comes back along several paths", async () => {
    const path: Case = unary((g, x) => g.mul(g.add(x, g.exp(x)), x));
    assert.ok((await worstDifference(path)) < 1e-3);
  });
});
