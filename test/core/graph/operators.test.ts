import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gradients } from "../../../core/graph/gradients.js";
import { GraphBuilder, type Program, type Value } from "../../../core/graph/graph.js";
import { encode } from "../../../core/graph/lower.js";
import type { OpName } from "../../../core/graph/ops.js";
import { floats, int32s, int64s, type Tensor } from "../../../core/graph/tensor.js";
import { createSession } from "../../../engines/onnx/session/session.js";
import { evaluate, widened, type Array64 } from "./evaluate.js";

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

const product = (transA: boolean, transB: boolean): Case =>
  binary((g, a, b) => g.matMul(a, b, { transA, transB, alpha: 0.7 }), transA ? [2, 1, 4, 3] : [2, 1, 3, 4], transB ? [5, 2, 4] : [5, 4, 2]);

const lastRows = (count: number): Case => ({
  inputs: { x: [6, 4] },
  fixed: { ids: int64s(Array(6).fill(0), 2, 3), keep: int64s([count]) },
  build: (g, { x, ids, keep }) => g.lastRows(x!, ids!, keep!, count === 0 ? 6 : 2 * count),
});
/** One new token for each of two sequences of other lengths, or two tokens of one; heads of three share one. */
const cachedAttend = (past: readonly number[], S: number): Case => {
  const B = past.length;
  const cache = floats(
    Float32Array.from({ length: B * 4 * 8 }, (_, at) => (at % 8 < 3 ? Math.sin(at) : 0)),
    B,
    1,
    4,
    8,
  );
  return {
    inputs: { q: [B, S, 6], k: [B, S, 3], v: [B, S, 3] },
    fixed: {
      keys: cache,
      values: cache,
      last: int32s(
        Int32Array.from(past, (count) => count + S - 1),
        B,
      ),
      longest: int32s(Int32Array.of(Math.max(...past) + S), 1),
    },
    build: (g, { q, k, v, keys, values, last, longest }) =>
      g.cachedAttend([q!, k!, v!, keys!, values!, last!, longest!], { heads: 2, sharedHeads: 1, alpha: 0.7 })[0]!,
  };
};
const angles = Float32Array.of(0.3, 1.1, -0.7, 2, 0, 0.5, 1.4, -2.2, 3);
const rotation = { cos: floats(angles.map(Math.cos), 3, 3), sin: floats(angles.map(Math.sin), 3, 3) };

/** Every operator: the compiler refuses one without a case. */
const cases: Readonly<Record<OpName, readonly [Case, ...Case[]]>> = {
  Add: [binary((g, a, b) => g.add(a, b)), binary((g, a, b) => g.add(a, b), [3, 1], [2, 1, 4])],
  Sub: [binary((g, a, b) => g.sub(a, b))],
  Mul: [binary((g, a, b) => g.mul(a, b)), binary((g, a, b) => g.mul(a, b), [], [2, 3])],
  Div: [binary((g, a, b) => g.div(a, g.sigmoid(b)))],
  Neg: [unary((g, x) => g.neg(x))],
  Sigmoid: [unary((g, x) => g.sigmoid(x))],
  Exp: [unary((g, x) => g.exp(x))],
  Erf: [unary((g, x) => g.erf(g.mul(x, g.constant(3))))],
  Cast: [
    {
      inputs: { x: [2, 2] },
      fixed: { half: { type: "float16", shape: [2, 2], data: Uint16Array.of(0x3c00, 0xc500, 0x0001, 0x7bff) } },
      build: (g, { x, half }) => g.add(g.cast(x!), g.cast(half!)),
    },
    {
      inputs: { x: [3] },
      fixed: { half: { type: "bfloat16", shape: [3], data: Uint16Array.of(0x3f80, 0xc0a0, 0x0001) } },
      build: (g, { x, half }) => g.add(g.cast(x!), g.cast(half!)),
    },
  ],
  // near zero, and where it is nearly straight
  Gelu: [unary((g, x) => g.gelu(x)), unary((g, x) => g.gelu(g.mul(x, g.constant(20))))],
  ErfGelu: [unary((g, x) => g.erfGelu(x)), unary((g, x) => g.erfGelu(g.mul(x, g.constant(20))))],
  Softmax: [unary((g, x) => g.softmax(x)), unary((g, x) => g.softmax(g.mul(x, g.constant(20))))],
  ReduceSum: [unary((g, x) => g.sum(x, [0, 2], true)), unary((g, x) => g.sum(x, [1], false))],
  ReduceMax: [unary((g, x) => g.max(x, [2], true)), unary((g, x) => g.max(x, [0, 1], false))],
  MatMul: [product(false, false), product(false, true), product(true, false), product(true, true)],
  Linear: [{ inputs: { x: [3, 4], weight: [5, 4], bias: [5] }, build: (g, { x, weight, bias }) => g.linear(x!, weight!, bias!) }],
  LayerNorm: [{ inputs: { x: [3, 5], weight: [5], bias: [5] }, build: (g, { x, weight, bias }) => g.layerNorm(x!, weight!, bias!, 1e-5) }],
  RmsNorm: [{ inputs: { x: [2, 3, 5], weight: [5] }, build: (g, { x, weight }) => g.rmsNorm(x!, weight!, 1e-5) }],
  // pairs of a part of the head, of the whole head, and of a single odd-sized head
  Rotary: [
    { inputs: { x: [3, 16] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 2, 6) },
    { inputs: { x: [3, 12] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 2, 6) },
    { inputs: { x: [3, 7] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 1, 6) },
    { inputs: { x: [3, 16] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 2, 6, true) },
    { inputs: { x: [3, 12] }, fixed: rotation, build: (g, { x, cos, sin }) => g.rotary(x!, cos!, sin!, 2, 6, true) },
  ],
  Attend: [
    {
      inputs: { q: [2, 1, 3, 4], k: [2, 1, 3, 4], v: [2, 1, 3, 4] },
      fixed: {
        mask: floats(Float32Array.of(0, -1e30, -1e30, 0, 0, -1e30, 0, 0, 0), 3, 3),
      },
      build: (g, { q, k, v, mask }) => g.attend(q!, k!, v!, mask!, 0.8),
    },
    // three heads of queries share one of keys and values
    {
      inputs: { q: [2, 3, 3, 4], k: [2, 1, 3, 4], v: [2, 1, 3, 4] },
      fixed: {
        mask: floats(Float32Array.of(0, -1e30, -1e30, 0, 0, -1e30, 0, 0, 0), 3, 3),
      },
      build: (g, { q, k, v, mask }) => g.attend(q!, k!, v!, mask!, 0.8),
    },
  ],
  Reshape: [unary((g, x) => g.reshape(x, 4, 6))],
  Transpose: [unary((g, x) => g.transpose(x, 2, 0, 1))],
  Concat: [binary((g, a, b) => g.concat([a, b, a], 1, 5), [2, 1, 3], [2, 3, 3])],
  Gather: [{ inputs: { x: [5, 2] }, fixed: { ids: int32s(Int32Array.of(4, 0, 4), 3) }, build: (g, { x, ids }) => g.gather(x!, ids!) }],
  SplitHeads: [
    { inputs: { x: [6, 4] }, fixed: { ids: int64s(Array(6).fill(0), 2, 3) }, build: (g, { x, ids }) => g.splitHeads(x!, ids!, 2) },
  ],
  RepeatHeads: [unary((g, x) => g.repeatHeads(g.reshape(x, 2, 2, 2, 3), 3))],
  // the last two of three keys are new; the first sequence's first key is padding
  MaskScores: [
    { inputs: { x: [2, 2, 2, 3] }, fixed: { mask: int64s([0, 1, 1, 1, 1, 1], 2, 3) }, build: (g, { x, mask }) => g.maskScores(x!, mask!) },
  ],
  CachedAttend: [cachedAttend([1, 3], 1), cachedAttend([2], 2)],
  LastRows: [0, 2].map((count) => lastRows(count)) as [Case, Case],
  GroupRows: [{ inputs: { x: [6, 4] }, fixed: { ids: int64s([0, 0], 2, 1) }, build: (g, { x, ids }) => g.groupRows(x!, ids!, 3) }],
};

/** Whose gradient is made outside of graphs, or which no loss goes through. */
const WITHOUT_GRADIENT = [
  "ReduceSum",
  "ReduceMax",
  "Cast",
  "Concat",
  "Gather",
  "SplitHeads",
  "RepeatHeads",
  "MaskScores",
  "CachedAttend",
  "LastRows",
  "GroupRows",
];

/** Numbers between -1 and 1 that depend on the index alone. */
const spread = (shape: readonly number[], salt: number): Tensor =>
  floats(
    Float32Array.from({ length: shape.reduce((product, axis) => product * axis, 1) }, (_, index) => Math.sin(7 * index + 13 * salt + 1)),
    ...shape,
  );

/** A case as graphs, with values for its inputs. */
function prepare({ inputs, fixed = {}, build }: Case) {
  const g = new GraphBuilder();
  const floating = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, g.input(name, "float32", ...shape)]));
  const constant = Object.fromEntries(Object.entries(fixed).map(([name, { type, shape }]) => [name, g.input(name, type, ...shape)]));
  const y = build(g, { ...floating, ...constant });
  const values = Object.fromEntries(Object.entries(inputs).map(([name, shape], index) => [name, spread(shape, index)]));
  return { g, y, floating, feeds: { ...values, ...fixed }, forward: g.program("forward", { y }) };
}

const widenedAll = (feeds: Readonly<Record<string, Tensor>>): Record<string, Array64> =>
  Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, widened(tensor)]));

/** onnxruntime gives what the definitions say, of every output. */
async function assertComputed(program: Program, feeds: Readonly<Record<string, Tensor>>, tolerance: number): Promise<void> {
  const session = await createSession(encode(program), { threads: 1 });
  const got = await session.run(feeds, Object.fromEntries([...program.outputs.keys()].map((name) => [name, null])));
  await session.close();
  for (const [name, expected] of Object.entries(evaluate(program, widenedAll(feeds)))) {
    assert.deepEqual(got[name]!.shape, expected.shape, name);
    assertNear(widened(got[name]!).data, expected.data, tolerance, name);
  }
}

function assertNear(got: Float64Array, expected: Float64Array, tolerance: number, name: string): void {
  expected.forEach((value, index) => {
    const difference = Math.abs(got[index]! - value);
    assert.ok(difference <= tolerance * Math.max(1, Math.abs(value)), `${name}[${index}]: ${got[index]}, expected ${value}`);
  });
}

/** The slope of Σ seed · y for each element of an input, by central differences in float64. */
function differences(forward: Program, feeds: Readonly<Record<string, Array64>>, seed: Array64, name: string): Float64Array {
  const weighted = (): number => evaluate(forward, feeds)["y"]!.data.reduce((sum, value, index) => sum + value * seed.data[index]!, 0);
  const { data } = feeds[name]!;
  return data.map((value, index) => {
    const at = (moved: number): number => {
      data[index] = moved;
      return weighted();
    };
    const slope = (at(value + 1e-5) - at(value - 1e-5)) / 2e-5;
    data[index] = value;
    return slope;
  });
}

async function assertGradients(one: Case): Promise<void> {
  const { g, y, floating, feeds, forward } = prepare(one);
  const found = gradients(g, [[y, g.input("seed", "float32", ...y.shape)]], Object.values(floating));
  const backward = g.program("backward", Object.fromEntries(Object.keys(floating).map((name, index) => [`d.${name}`, found[index]!])));
  const seed = spread(y.shape as number[], 99);
  // the tables' constants are rounded to fp32
  const slopes = evaluate(backward, widenedAll({ ...feeds, seed }));
  for (const name of Object.keys(floating)) {
    const { shape, data } = slopes[`d.${name}`]!;
    assert.deepEqual(shape, one.inputs[name]);
    assertNear(data, differences(forward, widenedAll(feeds), widened(seed), name), 1e-6, `d.${name}`);
  }
  await assertComputed(backward, { ...feeds, seed }, 1e-5);
}

for (const [op, list] of Object.entries(cases))
  describe(op, () => {
    it("computes what its definition says", async () => {
      for (const one of list) {
        const { forward, feeds } = prepare(one);
        assert.ok(forward.nodes.some((node) => node.op === op));
        await assertComputed(forward, feeds, 1e-6);
      }
    });

    if (WITHOUT_GRADIENT.includes(op))
      it("has no gradient, and says so", async () => {
        for (const one of list) await assert.rejects(assertGradients(one), new RegExp(`${op} has no gradient inside graphs`));
      });
    else
      it("has the gradient that differences in float64 show", async () => {
        for (const one of list) await assertGradients(one);
      });
  });

describe("gradients", () => {
  it("refuses a wanted value that nothing depends on, by name", () => {
    const g = new GraphBuilder();
    const x = g.input("x", "float32", 2);
    assert.throws(() => gradients(g, [[g.neg(x), x]], [g.input("lonely", "float32", 2)]), /depends on lonely/);
  });

  it("adds up what comes back along several paths", () => assertGradients(unary((g, x) => g.mul(g.add(x, g.sigmoid(x)), x))));
});
