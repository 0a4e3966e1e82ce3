import { gradients } from "../onnx/gradients.js";
import { GraphBuilder, type Program, type Value } from "../onnx/graph.js";
import { encode } from "../onnx/lower.js";
import type { Graph } from "../onnx/tensor.js";
import { block, blockWeightInputs, geometryInputs, rowAttention } from "./block.js";
import type { GptjConfig } from "./config.js";

/**
 * The graphs that train a model; everything is float32. Weights are inputs, so the two block graphs serve every layer.
 * N counts the positions that carry loss, V the words of a slice of the vocabulary. Gradients are named `d.<input>`.
 */
export interface ModelGraphs {
  /** x[T,D], geometry, the block's weights → y[T,D] */
  readonly blockForward: Graph;
  /** x[T,D], dy[T,D], geometry, the block's weights → dx[T,D], d.<weight>; computes the block's inside again */
  readonly blockBackward: Graph;
  /** x[N,D], weight[D], bias[D] → h[N,D] */
  readonly finalNormForward: Graph;
  /** x[N,D], dh[N,D], weight[D], bias[D] → dx[N,D], d.weight[D], d.bias[D] */
  readonly finalNormBackward: Graph;
  /** h[N,D], weight[V,D], bias[V] → logits[N,V], max[N], sumexp[N], the sum of exp(logit - max) over the slice */
  readonly headForward: Graph;
  /**
   * logits[N,V], part[N] (of all words' probability, the slice's), targets[N] (int64, index in this slice, -1: in another), scale[1],
   * h[N,D], weight[V,D] → d.weight[V,D], d.bias[V], dh[N,D] of scale · Σ (log Σ exp(logit) - logit of the target)
   */
  readonly headBackward: Graph;
}

/** The graphs of a model as ONNX. */
export function modelGraphs(config: GptjConfig): ModelGraphs {
  const programs = modelPrograms(config);
  return Object.fromEntries(Object.entries(programs).map(([name, program]) => [name, encode(program)])) as unknown as ModelGraphs;
}

/** The same graphs, before they become ONNX. */
export function modelPrograms(config: GptjConfig): Readonly<Record<keyof ModelGraphs, Program>> {
  return {
    blockForward: blockForward(config),
    blockBackward: blockBackward(config),
    finalNormForward: finalNorm(config).forward,
    finalNormBackward: finalNorm(config).backward,
    headForward: headForward(config),
    headBackward: headBackward(config),
  };
}

function buildBlock(g: GraphBuilder, config: GptjConfig): { x: Value; y: Value; weights: Record<string, Value> } {
  const x = g.input("x", "float32", "T", config.width);
  const geometry = geometryInputs(g, config);
  const weights = blockWeightInputs(g, config);
  return { x, weights, y: block(g, config, x, weights, rowAttention(g, config, geometry)) };
}

function blockForward(config: GptjConfig): Program {
  const g = new GraphBuilder();
  return g.program("block.forward", { y: buildBlock(g, config).y });
}

function blockBackward(config: GptjConfig): Program {
  const g = new GraphBuilder();
  const { x, y, weights } = buildBlock(g, config);
  const dy = g.input("dy", "float32", "T", config.width);
  return g.program("block.backward", named(g, [[y, dy]], { dx: x, ...prefixed(weights) }));
}

function finalNorm(config: GptjConfig): { forward: Program; backward: Program } {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", "N", config.width);
  const weight = g.input("weight", "float32", config.width);
  const bias = g.input("bias", "float32", config.width);
  const h = g.layerNorm(x, weight, bias, config.normEpsilon);
  const forward = g.program("norm.forward", { h });
  const dh = g.input("dh", "float32", "N", config.width);
  return { forward, backward: g.program("norm.backward", named(g, [[h, dh]], { dx: x, ...prefixed({ weight, bias }) })) };
}

function headForward(config: GptjConfig): Program {
  const g = new GraphBuilder();
  const h = g.input("h", "float32", "N", config.width);
  const weight = g.input("weight", "float32", "V", config.width);
  const logits = g.linear(h, weight, g.input("bias", "float32", "V"));
  // the largest share is exp(0) / Σ exp: softmax is one fast pass over [N,V], exp and sum would be three slow ones
  const sumexp = g.div(g.constant(1), g.max(g.softmax(logits), [1], false));
  return g.program("head.forward", { logits, max: g.max(logits, [1], false), sumexp });
}

function headBackward(config: GptjConfig): Program {
  const g = new GraphBuilder();
  const logits = g.input("logits", "float32", "N", "V");
  const part_N1 = g.reshape(g.input("part", "float32", "N"), "N", 1);
  const targets = g.input("targets", "int64", "N");
  const scale = g.input("scale", "float32", 1);
  const h = g.input("h", "float32", "N", config.width);
  const weight = g.input("weight", "float32", "V", config.width);
  const slope_NV = g.subtractOneHot(g.mul(g.softmax(logits), part_N1), targets);
  // [N,V] is the largest tensor of a step: the scale goes onto the small ones, and spares a pass over it
  return g.program("head.backward", {
    "d.weight": g.matMul(slope_NV, g.mul(h, scale), { transA: true }),
    "d.bias": g.mul(g.sum(slope_NV, [0], false), scale),
    dh: g.mul(g.matMul(slope_NV, weight), scale),
  });
}

/** The gradients of `of`, as outputs by name. */
function named(g: GraphBuilder, seeds: readonly (readonly [Value, Value])[], of: Readonly<Record<string, Value>>): Record<string, Value> {
  const names = Object.keys(of);
  const found = gradients(g, seeds, Object.values(of));
  return Object.fromEntries(names.map((name, index) => [name, found[index]!]));
}

function prefixed(values: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`d.${name}`, value]));
}
