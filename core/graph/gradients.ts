import type { GraphBuilder, Node, Value } from "./graph.js";
import type { OpName } from "./ops.js";

/** From a node and the gradients of its outputs to those of its inputs; null: none flows there. */
type Rule<K extends OpName> = (g: GraphBuilder, node: Node<K>, dy: Value) => readonly (Value | null)[];

/** Of operators that no loss goes through, or whose gradient is made outside of graphs (sums into rows of a table). */
const none = (_: GraphBuilder, node: Node): never => {
  throw new Error(`${node.op} has no gradient inside graphs`);
};

/** Rules may give gradients of the broadcast shape: the walk sums them back to the input's. */
const rules: { readonly [K in OpName]: Rule<K> } = {
  Add: (_, __, dy) => [dy, dy],
  Sub: (g, _, dy) => [dy, g.neg(dy)],
  Mul: (g, { inputs: [a, b] }, dy) => [g.mul(dy, b!), g.mul(dy, a!)],
  Div: (g, { inputs: [, b], outputs: [y] }, dy) => [g.div(dy, b!), g.neg(g.div(g.mul(dy, y!), b!))],
  Neg: (g, _, dy) => [g.neg(dy)],
  Sigmoid: (g, { outputs: [y] }, dy) => [g.mul(dy, g.sub(y!, g.mul(y!, y!)))],
  Exp: (g, { outputs: [y] }, dy) => [g.mul(dy, y!)],
  Erf: (g, { inputs: [x] }, dy) => [g.mul(dy, g.mul(g.exp(g.neg(g.mul(x!, x!))), g.constant(2 / Math.sqrt(Math.PI))))],
  // of weights that stay as they are
  Cast: none,
  Gelu: (g, { inputs: [x] }, dy) => [g.mul(dy, geluSlope(g, x!))],
  ErfGelu: (g, { inputs: [x] }, dy) => [g.mul(dy, erfGeluSlope(g, x!))],
  Softmax: (g, { outputs: [y] }, dy) => {
    const weighted = g.mul(dy, y!);
    return [g.sub(weighted, g.mul(y!, g.sum(weighted, [y!.shape.length - 1], true)))];
  },
  ReduceSum: none,
  ReduceMax: none,
  MatMul: (g, { inputs: [a, b], attributes: { transA, transB, alpha } }, dy) => [
    transA ? g.matMul(b!, dy, { transA: transB, transB: true, alpha }) : g.matMul(dy, b!, { transB: !transB, alpha }),
    transB ? g.matMul(dy, a!, { transA: true, transB: transA, alpha }) : g.matMul(a!, dy, { transA: !transA, alpha }),
  ],
  Linear: (g, { inputs: [x, weight] }, dy) => [g.matMul(dy, weight!), g.matMul(dy, x!, { transA: true }), g.sum(dy, [0], false)],
  LayerNorm: (g, { inputs: [x, weight], outputs: [, mean, inverse] }, dy) => {
    const last = x!.shape.length - 1;
    const share = g.constant(1 / (x!.shape[last] as number));
    const normal = g.mul(g.sub(x!, mean!), inverse!);
    const weightSlope = g.mul(dy, normal);
    const dnormal = g.mul(dy, weight!);
    const average = g.mul(g.sum(dnormal, [last], true), share);
    const correlation = g.mul(g.sum(g.mul(dnormal, normal), [last], true), share);
    return [g.mul(g.sub(g.sub(dnormal, average), g.mul(normal, correlation)), inverse!), weightSlope, dy];
  },
  RmsNorm: (g, { inputs: [x, weight], outputs: [, inverse] }, dy) => {
    const last = x!.shape.length - 1;
    const normal = g.mul(x!, inverse!);
    const dnormal = g.mul(dy, weight!);
    const correlation = g.mul(g.sum(g.mul(dnormal, normal), [last], true), g.constant(1 / (x!.shape[last] as number)));
    return [g.mul(g.sub(dnormal, g.mul(normal, correlation)), inverse!), g.mul(dy, normal)];
  },
  // a rotation's gradient is the rotation back
  Rotary: (g, { inputs: [, cos, sin], attributes: { heads, rotaryDim, halves } }, dy) => [
    g.rotary(dy, cos!, g.neg(sin!), heads, rotaryDim, halves),
    null,
    null,
  ],
  Attend: (g, { inputs: [q, k, v], outputs: [, shares], attributes: { alpha } }, dy) => {
    const last = shares!.shape.length - 1;
    const dshares = g.matMul(dy, v!, { transB: true });
    // Σ dy · y over the head's width is the same sum over fewer elements. But it rounds differently than dshares, and where
    // one share is nearly 1, that rounding is all that the difference leaves
    const dscores = g.mul(g.sub(dshares, g.sum(g.mul(dshares, shares!), [last], true)), shares!);
    return [
      g.matMul(dscores, k!, { alpha }),
      g.matMul(dscores, q!, { transA: true, alpha }),
      g.matMul(shares!, dy, { transA: true }),
      null,
    ];
  },
  Reshape: (g, { inputs: [x] }, dy) => [g.reshape(dy, ...x!.shape)],
  Transpose: (g, { attributes: { order } }, dy) => [g.transpose(dy, ...order.map((_, axis) => order.indexOf(axis)))],
  Concat: none,
  Gather: none,
  // of decoding, which nobody trains through
  SplitHeads: none,
  RepeatHeads: none,
  MaskScores: none,
  CachedAttend: none,
  LastRows: none,
  GroupRows: none,
};

/**
 * Adds to the graph the gradients of `wanted`, given those of some outputs (`seeds`): one walk from the last node to the
 * first. Only what leads to `wanted` is differentiated. Throws when none of the seeds depends on one of them.
 */
export function gradients(g: GraphBuilder, seeds: readonly (readonly [of: Value, gradient: Value])[], wanted: readonly Value[]): Value[] {
  const forward = [...g.nodes];
  const active = new Set(wanted);
  for (const { inputs, outputs } of forward) if (inputs.some((value) => active.has(value))) for (const value of outputs) active.add(value);

  const found = new Map<Value, Value>();
  const contribute = (to: Value, gradient: Value): void => {
    if (!active.has(to)) return;
    const reduced = unbroadcast(g, gradient, to);
    const sofar = found.get(to);
    found.set(to, sofar === undefined ? reduced : g.add(sofar, reduced));
  };
  for (const [of, gradient] of seeds) contribute(of, gradient);
  for (const node of forward.reverse()) {
    const dy = found.get(node.outputs[0]!);
    if (dy !== undefined)
      inputGradients(g, node, dy).forEach((gradient, index) => gradient !== null && contribute(node.inputs[index]!, gradient));
  }
  return wanted.map((value) => {
    const gradient = found.get(value);
    if (gradient === undefined) throw new Error(`nothing that has a gradient depends on ${value.name ?? "an unnamed value"}`);
    return gradient;
  });
}

function inputGradients<K extends OpName>(g: GraphBuilder, node: Node<K>, dy: Value): readonly (Value | null)[] {
  return rules[node.op](g, node, dy);
}

/** Sums a gradient over the axes along which its value had been repeated. */
function unbroadcast(g: GraphBuilder, gradient: Value, value: Value): Value {
  const extra = gradient.shape.length - value.shape.length;
  const leading = Array.from({ length: extra }, (_, axis) => axis);
  const inner = value.shape.flatMap((size, axis) => (size === 1 && gradient.shape[axis + extra] !== 1 ? [axis + extra] : []));
  if (inner.length === 0) return extra === 0 ? gradient : g.sum(gradient, leading, false);
  const summed = g.sum(gradient, [...leading, ...inner], true);
  return extra === 0 ? summed : g.reshape(summed, ...value.shape);
}

/** d gelu(x) / dx, with x/2 · (1 + tanh u) written as x · sigmoid(2u): s · (1 + (1 - s) · 2x · du/dx). */
function geluSlope(g: GraphBuilder, x: Value): Value {
  const first = g.constant(2 * Math.sqrt(2 / Math.PI));
  const third = g.constant(2 * Math.sqrt(2 / Math.PI) * 0.044715);
  const cube = g.mul(g.mul(g.mul(x, x), x), third);
  const linear = g.mul(x, first);
  const s = g.sigmoid(g.add(linear, cube));
  const slope = g.add(linear, g.mul(cube, g.constant(3)));
  const one = g.constant(1);
  return g.mul(s, g.add(one, g.mul(g.sub(one, s), slope)));
}

/** d (x/2 · (1 + erf(x / √2))) / dx: the normal distribution's share below x, and x times its density. */
function erfGeluSlope(g: GraphBuilder, x: Value): Value {
  const below = g.add(g.mul(g.erf(g.mul(x, g.constant(Math.SQRT1_2))), g.constant(0.5)), g.constant(0.5));
  const density = g.mul(g.exp(g.mul(g.mul(x, x), g.constant(-0.5))), g.constant(1 / Math.sqrt(2 * Math.PI)));
  return g.add(below, g.mul(x, density));
}
