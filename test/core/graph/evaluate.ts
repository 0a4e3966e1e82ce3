import { bfloatToFloat, halfToFloat } from "../../../core/format/floats.js";
import type { Program, Value } from "../../../core/graph/graph.js";
import type { OpName, Ops } from "../../../core/graph/ops.js";
import type { Tensor } from "../../../core/graph/tensor.js";

/** What each operator means, in float64 and by its definition, one element at a time: slow, and plain enough to be believed. */

export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

type Definition<K extends OpName> = (attributes: Ops[K], ...inputs: Array64[]) => Array64[];

const size = (shape: readonly number[]): number => shape.reduce((product, axis) => product * axis, 1);

/** The tensor whose element at an index is `f` of that index. */
function tabulate(shape: readonly number[], f: (at: readonly number[]) => number): Array64 {
  const data = new Float64Array(size(shape));
  for (let flat = 0; flat < data.length; flat++) {
    let rest = flat;
    const at = shape.toReversed().map((axis) => {
      const index = rest % axis;
      rest = (rest - index) / axis;
      return index;
    });
    data[flat] = f(at.reverse());
  }
  return { shape, data };
}

/** The element at an index, which may be longer, or beyond an axis of one: broadcasting. */
function pick({ shape, data }: Array64, at: readonly number[]): number {
  const extra = at.length - shape.length;
  let flat = 0;
  shape.forEach((axis, index) => (flat = flat * axis + (axis === 1 ? 0 : at[index + extra]!)));
  return data[flat]!;
}

const sum = (count: number, f: (index: number) => number): number =>
  Array.from({ length: count }, (_, i) => f(i)).reduce((a, b) => a + b, 0);
const map =
  (f: (x: number) => number): Definition<OpName> =>
  (_, x) => [{ shape: x.shape, data: x.data.map(f) }];
const zip =
  (f: (a: number, b: number) => number): Definition<OpName> =>
  (_, a, b) => [tabulate(common(a.shape, b.shape), (at) => f(pick(a, at), pick(b, at)))];
const reduce =
  (f: (a: number, b: number) => number): Definition<"ReduceSum" | "ReduceMax"> =>
  ({ axes, keep }, x) => {
    const kept = x.shape.map((axis, index) => (axes.includes(index) ? 1 : axis));
    const over = x.shape.map((axis, index) => (axes.includes(index) ? axis : 1));
    const result = tabulate(kept, (at) =>
      tabulate(over, (inner) =>
        pick(
          x,
          at.map((index, axis) => index + inner[axis]!),
        ),
      ).data.reduce(f),
    );
    return [keep ? result : { ...result, shape: x.shape.filter((_, index) => !axes.includes(index)) }];
  };
/** The shape of two operands that are broadcast. */
function common(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  const padded = (shape: readonly number[]): number[] => [...Array<number>(rank - shape.length).fill(1), ...shape];
  const right = padded(b);
  return padded(a).map((axis, index) => Math.max(axis, right[index]!));
}

/** a[…,m,k] @ b[…,k,n] */
function product(a: Array64, b: Array64): Array64 {
  const outer = common(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  return tabulate([...outer, m, n], (at) => {
    const [batch, row, column] = [at.slice(0, -2), at.at(-2)!, at.at(-1)!];
    return sum(k, (inner) => pick(a, [...batch, row, inner]) * pick(b, [...batch, inner, column]));
  });
}

const permuted = (x: Array64, order: readonly number[]): Array64 =>
  tabulate(
    order.map((axis) => x.shape[axis]!),
    (at) =>
      pick(
        x,
        x.shape.map((_, axis) => at[order.indexOf(axis)]!),
      ),
  );
/** In its last two axes. */
function transposed(x: Array64): Array64 {
  const axes = [...x.shape.keys()];
  return permuted(x, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
}

const scaled = (x: Array64, by: number): Array64 => ({ ...x, data: x.data.map((value) => value * by) });
const shaped = (x: Array64, ...shape: number[]): Array64 => ({ ...x, shape });
const added = (a: Array64, b: Array64): Array64 => zip((x, y) => x + y)({}, a, b)[0]!;

function softmax(x: Array64): Array64 {
  const width = x.shape.at(-1)!;
  return tabulate(x.shape, (at) => {
    const row = Array.from({ length: width }, (_, index) => pick(x, [...at.slice(0, -1), index]));
    const max = Math.max(...row);
    return Math.exp(pick(x, at) - max) / sum(width, (index) => Math.exp(row[index]! - max));
  });
}

/** 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!, whose terms have one sign. */
function erf(x: number): number {
  let [term, total] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) total += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

export const definitions: { readonly [K in OpName]: Definition<K> } = {
  Add: zip((a, b) => a + b),
  Sub: zip((a, b) => a - b),
  Mul: zip((a, b) => a * b),
  Div: zip((a, b) => a / b),
  Neg: map((x) => -x),
  Sigmoid: map((x) => 1 / (1 + Math.exp(-x))),
  Exp: map(Math.exp),
  Erf: map(erf),
  Cast: map((x) => x),
  Gelu: map((x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))),
  ErfGelu: map((x) => (x / 2) * (1 + erf(x * Math.SQRT1_2))),
  Softmax: (_, x) => [softmax(x)],
  ReduceSum: reduce((a, b) => a + b),
  ReduceMax: reduce((a, b) => Math.max(a, b)),
  MatMul: ({ transA, transB, alpha }, a, b) => [scaled(product(transA ? transposed(a) : a, transB ? transposed(b) : b), alpha)],
  Linear: (_, x, weight, bias) => [added(product(x, transposed(weight)), bias)],
  LayerNorm: ({ epsilon }, x, weight, bias) => {
    const width = x.shape.at(-1)!;
    const statistics = [...x.shape.slice(0, -1), 1];
    const mean = tabulate(statistics, (at) => sum(width, (d) => pick(x, [...at.slice(0, -1), d])) / width);
    const inverse = tabulate(
      statistics,
      (at) => 1 / Math.sqrt(sum(width, (d) => (pick(x, [...at.slice(0, -1), d]) - pick(mean, at)) ** 2) / width + epsilon),
    );
    const y = tabulate(x.shape, (at) => (pick(x, at) - pick(mean, at)) * pick(inverse, at) * pick(weight, at) + pick(bias, at));
    return [y, mean, inverse];
  },
  RmsNorm: ({ epsilon }, x, weight) => {
    const width = x.shape.at(-1)!;
    const inverse = tabulate(
      [...x.shape.slice(0, -1), 1],
      (at) => 1 / Math.sqrt(sum(width, (d) => pick(x, [...at.slice(0, -1), d]) ** 2) / width + epsilon),
    );
    return [tabulate(x.shape, (at) => pick(x, at) * pick(inverse, at) * pick(weight, at)), inverse];
  },
  Rotary: ({ heads, rotaryDim, halves }, x, cos, sin) => {
    const width = x.shape[1]! / heads;
    return [
      tabulate(x.shape, ([t, d]) => {
        const inside = d! % width;
        if (inside >= rotaryDim) return pick(x, [t!, d!]);
        const apart = halves ? rotaryDim / 2 : 1;
        const second = halves ? inside >= apart : inside % 2 === 1;
        const pair = halves ? inside % apart : Math.floor(inside / 2);
        const other = pick(x, [t!, second ? d! - apart : d! + apart]);
        return pick(x, [t!, d!]) * pick(cos, [t!, pair]) + (second ? other : -other) * pick(sin, [t!, pair]);
      }),
    ];
  },
  Attend: ({ alpha }, q, k, v, mask) => {
    const shares = softmax(added(scaled(product(q, transposed(k)), alpha), mask));
    return [product(shares, v), shares];
  },
  Reshape: ({ shape }, x) => {
    const known = size(shape.filter((axis) => typeof axis === "number"));
    return [shaped(x, ...shape.map((axis) => (typeof axis === "number" ? axis : x.data.length / known)))];
  },
  Transpose: ({ order }, x) => [permuted(x, order)],
  Concat: ({ axis }, first, ...others) => [
    others.reduce((left, right) => {
      const split = left.shape[axis]!;
      const shape = left.shape.with(axis, split + right.shape[axis]!);
      return tabulate(shape, (at) => (at[axis]! < split ? pick(left, at) : pick(right, at.with(axis, at[axis]! - split))));
    }, first),
  ],
  Gather: (_, table, indices) => [
    tabulate([...indices.shape, ...table.shape.slice(1)], (at) => {
      const rank = indices.shape.length;
      return pick(table, [pick(indices, at.slice(0, rank)), ...at.slice(rank)]);
    }),
  ],
  SplitHeads: ({ heads }, x, ids) => [permuted(shaped(x, ...ids.shape, heads, x.shape[1]! / heads), [0, 2, 1, 3])],
  RepeatHeads: ({ times }, x) => [
    tabulate(x.shape.with(1, x.shape[1]! * times), ([b, h, ...rest]) => pick(x, [b!, Math.floor(h! / times), ...rest])),
  ],
  MaskScores: (_, scores, mask) => {
    const past = scores.shape[3]! - scores.shape[2]!;
    const seen = ([b, , s, k]: readonly number[]): boolean => k! <= s! + past && pick(mask, [b!, k!]) === 1;
    return [tabulate(scores.shape, (at) => pick(scores, at) - (seen(at) ? 0 : 1e30))];
  },
  CachedAttend: ({ heads, sharedHeads, alpha }, q, k, v, keys, values, last) => {
    const S = q.shape[1]!;
    const width = q.shape[2]! / heads;
    const first = (b: number): number => last.data[b]! - S + 1;
    const filled = (cache: Array64, x: Array64): Array64 =>
      tabulate(cache.shape, ([b, g, m, w]) => {
        const s = m! - first(b!);
        return s < 0 || s >= S ? pick(cache, [b!, g!, m!, w!]) : w! < width ? pick(x, [b!, s, g! * width + w!]) : 0;
      });
    const [allKeys, allValues] = [filled(keys, k), filled(values, v)];
    const y = tabulate(q.shape, ([b, s, d]) => {
      const head = Math.floor(d! / width);
      const group = Math.floor((head * sharedHeads) / heads);
      const score = (m: number): number =>
        alpha * sum(width, (w) => pick(q, [b!, s!, head * width + w]) * pick(allKeys, [b!, group, m, w]));
      const scores = Array.from({ length: first(b!) + s! + 1 }, (_, m) => Math.exp(score(m)));
      return sum(scores.length, (m) => scores[m]! * pick(allValues, [b!, group, m, d! % width])) / sum(scores.length, (m) => scores[m]!);
    });
    return [y, allKeys, allValues];
  },
  LastRows: (_, x, ids, keep) => {
    const [B, S] = ids.shape as [number, number];
    const kept = keep.data[0] === 0 ? S : keep.data[0]!;
    return [tabulate([B * kept, x.shape[1]!], ([m, d]) => pick(x, [Math.floor(m! / kept) * S + S - kept + (m! % kept), d!]))];
  },
  GroupRows: (_, x, ids) => [shaped(x, ids.shape[0]!, x.shape[0]! / ids.shape[0]!, x.shape[1]!)],
};

/** Runs a program by its operators' definitions. */
export function evaluate(program: Program, feeds: Readonly<Record<string, Array64>>): Record<string, Array64> {
  const known = new Map<Value, Array64>();
  for (const value of program.inputs) known.set(value, feeds[value.name!]!);
  for (const value of program.initializers) {
    const bytes = value.bytes as Uint8Array;
    const data = Float64Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
    known.set(value, { shape: value.shape as number[], data });
  }
  for (const { op, attributes, inputs, outputs } of program.nodes) {
    const results = (definitions[op] as Definition<OpName>)(attributes, ...inputs.map((value) => known.get(value)!));
    outputs.forEach((value, index) => known.set(value, results[index]!));
  }
  return Object.fromEntries([...program.outputs].map(([name, value]) => [name, known.get(value)!]));
}

/** The same numbers in float64. */
export function widened({ type, shape, data }: Tensor): Array64 {
  if (type === "float16" || type === "bfloat16") {
    const values = new Float32Array(data.length);
    (type === "float16" ? halfToFloat : bfloatToFloat)(data, values);
    return { shape, data: Float64Array.from(values) };
  }
  return { shape, data: Float64Array.from(data as ArrayLike<number | bigint>, Number) };
}
