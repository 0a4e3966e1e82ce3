import type { Dimension, Shape } from "./tensor.js";

type None = Readonly<Record<never, never>>;

/**
 * The closed set of operators with their attributes. Each has its shape inference here, its lowering to ONNX in
 * lower.ts and its gradient in gradients.ts: tables over these names, so that the compiler proves them complete.
 */
export interface Ops {
  /** a ∘ b with broadcasting */
  Add: None;
  Sub: None;
  Mul: None;
  Div: None;
  Neg: None;
  Sigmoid: None;
  Exp: None;
  Erf: None;
  /** to float32 */
  Cast: None;
  /** gelu_new: x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))) */
  Gelu: None;
  /** x/2 · (1 + erf(x / √2)) */
  ErfGelu: None;
  /** over the last axis */
  Softmax: None;
  ReduceSum: { readonly axes: readonly number[]; readonly keep: boolean };
  ReduceMax: { readonly axes: readonly number[]; readonly keep: boolean };
  /** alpha · a[…,m,k] @ b[…,k,n], either transposed in its last two axes */
  MatMul: { readonly transA: boolean; readonly transB: boolean; readonly alpha: number };
  /** x[T,I], weight[O,I], bias[O] → x @ weightᵀ + bias [T,O] */
  Linear: None;
  /** x[…,D], weight[D], bias[D] → y[…,D], mean[…,1], inverse deviation[…,1]; the last two serve the gradient only */
  LayerNorm: { readonly epsilon: number };
  /** x[…,D], weight[D] → x / √(mean x² + epsilon) · weight […,D], and the inverse root […,1], which serves the gradient only */
  RmsNorm: { readonly epsilon: number };
  /**
   * x[T,D], cos[T,r/2], sin[T,r/2]: turns pairs in the first r entries of each head; a pair is two neighbours, or with `halves` an
   * entry of the first half and its counterpart in the second
   */
  Rotary: { readonly heads: number; readonly rotaryDim: number; readonly halves: boolean };
  /** q[…,S,W], k[…,K,W], v[…,K,W], mask[…,S,K] → softmax(alpha · q @ kᵀ + mask) @ v […,S,W], and that softmax, which serves the gradient */
  Attend: { readonly alpha: number };
  /** at most one dimension may be symbolic */
  Reshape: { readonly shape: Shape };
  Transpose: { readonly order: readonly number[] };
  Concat: { readonly axis: number; readonly size: Dimension };
  /** table[V,…], indices[…] → rows of the table */
  Gather: None;
  /** x[T,H·W], ids[B,S] with B·S = T → [B,H,S,W]; ids only tell B and S */
  SplitHeads: { readonly heads: number; readonly batch: Dimension; readonly sequence: Dimension };
  /** x[B,H,K,W] → each head `times` times in a row [B,H·times,K,W] */
  RepeatHeads: { readonly times: number };
  /** scores[B,H,S,K], mask[B,K] (int64, 1: may be looked at) → scores, hugely negative for masked keys and for those after the query: query s is at key s + K - S */
  MaskScores: None;
  /** x[T,D], ids[B,S], keep (int64 scalar) → [M,D], of each sequence the last `keep` rows, 0 for all */
  LastRows: { readonly rows: Dimension };
  /**
   * q[B,S,H·W], new keys and values [B,S,G·W], what the caches hold [B,G,M,⌈W⌉] with heads as wide as `cachedWidth`, last[B] (int32: the
   * last token's position in each sequence), longest (int32 scalar: tokens of the longest sequence) → causal attention to the S new
   * tokens of each sequence and to what lies before them [B,S,H·W], and both caches with the new tokens. Of several sequences each
   * has one new token.
   */
  CachedAttend: { readonly heads: number; readonly sharedHeads: number; readonly alpha: number };
  /** x[M,V], ids[B,S] → [B,M/B,V] */
  GroupRows: { readonly batch: Dimension; readonly sequence: Dimension };
}
/** The width of a head of W in a cache: what reads it wants whole groups of eight. */
export function cachedWidth(W: number): number {
  return Math.ceil(W / 8) * 8;
}

/** An operator by name. */
export type OpName = keyof Ops;

type Infer<K extends OpName> = (attributes: Ops[K], ...inputs: { readonly shape: Shape }[]) => Shape[];

const same: Infer<OpName> = (_, x) => [x.shape];
const binary: Infer<OpName> = (_, a, b) => [broadcast(a.shape, b.shape)];
const reduce: Infer<"ReduceSum" | "ReduceMax"> = ({ axes, keep }, x) => {
  const marked = x.shape.map((size, axis): Dimension | null => (axes.includes(axis) ? (keep ? 1 : null) : size));
  return [marked.filter((size) => size !== null)];
};

/** The outputs' shapes of each operator. */
export const inferShapes: { readonly [K in OpName]: Infer<K> } = {
  Add: binary,
  Sub: binary,
  Mul: binary,
  Div: binary,
  Neg: same,
  Sigmoid: same,
  Exp: same,
  Erf: same,
  Cast: same,
  Gelu: same,
  ErfGelu: same,
  Softmax: same,
  ReduceSum: reduce,
  ReduceMax: reduce,
  MatMul: ({ transA, transB }, a, b) => {
    const [m, k] = lastTwo(a.shape, transA);
    const [inner, n] = lastTwo(b.shape, transB);
    mustEqual("MatMul", k, inner);
    return [[...broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2)), m, n]];
  },
  Linear: (_, x, weight, bias) => {
    mustEqual("Linear", x.shape[1], weight.shape[1]);
    mustEqual("Linear", weight.shape[0], bias.shape[0]);
    return [[x.shape[0]!, weight.shape[0]!]];
  },
  LayerNorm: (_, x, weight) => {
    mustEqual("LayerNorm", x.shape.at(-1), weight.shape[0]);
    const statistics = [...x.shape.slice(0, -1), 1];
    return [x.shape, statistics, statistics];
  },
  RmsNorm: (_, x, weight) => {
    mustEqual("RmsNorm", x.shape.at(-1), weight.shape[0]);
    return [x.shape, [...x.shape.slice(0, -1), 1]];
  },
  Rotary: same,
  Attend: (_, q, k) => [q.shape, [...q.shape.slice(0, -1), k.shape.at(-2)!]],
  Reshape: ({ shape }) => [shape],
  Transpose: ({ order }, x) => [order.map((axis) => x.shape[axis]!)],
  Concat: ({ axis, size }, first) => [first.shape.map((old, at) => (at === axis ? size : old))],
  Gather: (_, table, indices) => [[...indices.shape, ...table.shape.slice(1)]],
  SplitHeads: ({ heads, batch, sequence }, x) => [[batch, heads, sequence, (x.shape[1] as number) / heads]],
  RepeatHeads: ({ times }, { shape: [B, H, ...rest] }) => [[B!, (H as number) * times, ...rest]],
  MaskScores: same,
  CachedAttend: (_, q, __, ___, keys, values) => [q.shape, keys.shape, values.shape],
  LastRows: ({ rows }, x) => [[rows, x.shape[1]!]],
  GroupRows: ({ batch, sequence }, x) => [[batch, sequence, x.shape[1]!]],
};

/** The common shape of two operands; throws where they don't fit. */
function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  const pad = (shape: Shape): Shape => [...Array<Dimension>(rank - shape.length).fill(1), ...shape];
  const right = pad(b);
  return pad(a).map((size, axis) => {
    const other = right[axis]!;
    if (size === 1 || other === 1) return size === 1 ? other : size;
    mustEqual("broadcast", size, other);
    return size;
  });
}

function lastTwo(shape: Shape, transposed: boolean): [Dimension, Dimension] {
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!];
  return transposed ? [columns, rows] : [rows, columns];
}

function mustEqual(what: string, a: Dimension | undefined, b: Dimension | undefined): void {
  if (a !== b) throw new Error(`${what}: sizes differ [left=${a}, right=${b}]`);
}
