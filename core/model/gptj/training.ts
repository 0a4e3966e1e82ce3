import { gradients } from "../../graph/gradients.js";
import { GraphBuilder, type Program, type Value } from "../../graph/graph.js";
import { encode } from "../../graph/lower.js";
import type { Graph } from "../../graph/tensor.js";
import { attendRow, blockWeightInputs, join, project } from "./block.js";
import type { GptjConfig } from "./config.js";

/**
 * The graphs that train a model; everything is float32. Weights are inputs, so a block's graphs serve every layer. A block
 * is three graphs, for all but attention works on the T tokens of all rows and attention on the S of one. N counts the
 * positions that carry loss, V the words of a slice of the vocabulary. Gradients are named `d.<input>`.
 */
export interface ModelGraphs {
  /** x[T,D], cos, sin [T,rotaryDim/2], weights → q, k [T,D] rotated, v[T,D], inner[T,F] */
  readonly projectForward: Graph;
  /** q, k, v [S,D], causal[S,S] → gathered[S,D] */
  readonly attendForward: Graph;
  /** x[T,D], gathered[T,D], inner[T,F], weights → y[T,D] */
  readonly joinForward: Graph;
  /** dy[T,D], gathered[T,D], weights → d.gathered[T,D], d.activated[T,F], d.<weight> but the MLP's last */
  readonly joinBackward: Graph;
  /** inner[T,F], d.activated[T,F] → activated[T,F], d.inner[T,F] */
  readonly activateBackward: Graph;
  /** q, k, v [S,D], causal[S,S], d.gathered[S,D] → d.q, d.k, d.v [S,D]; computes the scores again */
  readonly attendBackward: Graph;
  /** x[T,D], cos, sin, d.q, d.k, d.v [T,D], d.inner, activated [T,F], dy[T,D], weights → dx[T,D], d.<weight>, the MLP's last too; computes the norm again */
  readonly projectBackward: Graph;
  /** x[N,D], weight[D], bias[D] → h[N,D] */
  readonly finalNormForward: Graph;
  /** x[N,D], dh[N,D], weight[D], bias[D] → dx[N,D], d.weight[D], d.bias[D] */
  readonly finalNormBackward: Graph;
  /** h[N,D], weight[V,D], bias[V] → logits[N,V], their softmax over the slice shares[N,V], max[N], sumexp[N], the sum of exp(logit - max) */
  readonly headForward: Graph;
  /**
   * slope[N,V], factor[N,1], weight[V,D] → dh[N,D], where factor · slope is the gradient at the logits: so a slice's
   * shares need no other pass over [N,V] than the products
   */
  readonly headBackward: Graph;
  /** slope[N,V], factor[N,1], h[N,D] → d.weight[V,D], d.bias[V], which nobody waits for */
  readonly headWeightBackward: Graph;
}

/** The graphs of a model as ONNX. */
export function modelGraphs(config: GptjConfig): ModelGraphs {
  const programs = modelPrograms(config);
  return Object.fromEntries(Object.entries(programs).map(([name, program]) => [name, encode(program)])) as unknown as ModelGraphs;
}

/** The same graphs, before they become ONNX. */
export function modelPrograms(config: GptjConfig): Readonly<Record<keyof ModelGraphs, Program>> {
  return {
    ...projectPrograms(config),
    ...attendPrograms(config),
    ...joinPrograms(config),
    ...normPrograms(config),
    ...headPrograms(config),
  };
}

type Programs<K extends keyof ModelGraphs> = Readonly<Record<K, Program>>;

function projectPrograms(config: GptjConfig): Programs<"projectForward" | "projectBackward"> {
  const { width: D, innerWidth: F, heads, rotaryDim } = config;
  const g = new GraphBuilder();
  const x = g.input("x", "float32", "T", D);
  const cos = g.input("cos", "float32", "T", rotaryDim / 2);
  const sin = g.input("sin", "float32", "T", rotaryDim / 2);
  const weights = blockWeightInputs(g, config);
  const { q, k, v, inner } = project(g, config, x, weights);
  const outputs = { q: g.rotary(q, cos, sin, heads, rotaryDim), k: g.rotary(k, cos, sin, heads, rotaryDim), v, inner };
  const projectForward = g.program("project.forward", outputs);
  const seeds = Object.entries(outputs).map(([name, of]) => [of, g.input(`d.${name}`, "float32", "T", name === "inner" ? F : D)] as const);
  const own = Object.fromEntries(Object.entries(weights).filter(([, weight]) => projectForward.inputs.includes(weight)));
  const { dx, ...rest } = named(g, seeds, { dx: x, ...prefixed(own) });
  // beside both, the block passes x on as it is
  const dy = g.input("dy", "float32", "T", D);
  const last = g.matMul(dy, g.input("activated", "float32", "T", F), { transA: true });
  const projectBackward = g.program("project.backward", { dx: g.add(dy, dx!), ...rest, "d.mlp.fc_out.weight": last });
  return { projectForward, projectBackward };
}

function attendPrograms(config: GptjConfig): Programs<"attendForward" | "attendBackward"> {
  const D = config.width;
  const g = new GraphBuilder();
  const [q, k, v] = ["q", "k", "v"].map((name) => g.input(name, "float32", "S", D)) as [Value, Value, Value];
  const gathered = attendRow(g, config, q, k, v, g.input("causal", "float32", "S", "S"));
  const attendForward = g.program("attend.forward", { gathered });
  const slope = g.input("d.gathered", "float32", "S", D);
  return { attendForward, attendBackward: g.program("attend.backward", named(g, [[gathered, slope]], prefixed({ q, k, v }))) };
}

function joinPrograms(config: GptjConfig): Programs<"joinForward" | "joinBackward" | "activateBackward"> {
  const { width: D, innerWidth: F } = config;
  const g = new GraphBuilder();
  const gathered = g.input("gathered", "float32", "T", D);
  const inner = g.input("inner", "float32", "T", F);
  const weights = blockWeightInputs(g, config);
  const activated = g.gelu(inner);
  const both = join(g, gathered, activated, weights);
  const joinForward = g.program("join.forward", { y: g.add(both, g.input("x", "float32", "T", D)) });
  const outProjection = { "attn.out_proj.weight": weights["attn.out_proj.weight"]!, "mlp.fc_out.bias": weights["mlp.fc_out.bias"]! };
  const dy = g.input("dy", "float32", "T", D);
  const joinBackward = g.program("join.backward", named(g, [[both, dy]], prefixed({ gathered, activated, ...outProjection })));
  const slope = g.input("d.activated", "float32", "T", F);
  const activateBackward = g.program("activate.backward", { activated, ...named(g, [[activated, slope]], prefixed({ inner })) });
  return { joinForward, joinBackward, activateBackward };
}

function normPrograms(config: GptjConfig): Programs<"finalNormForward" | "finalNormBackward"> {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", "N", config.width);
  const weight = g.input("weight", "float32", config.width);
  const bias = g.input("bias", "float32", config.width);
  const h = g.layerNorm(x, weight, bias, config.normEpsilon);
  const finalNormForward = g.program("norm.forward", { h });
  const dh = g.input("dh", "float32", "N", config.width);
  return { finalNormForward, finalNormBackward: g.program("norm.backward", named(g, [[h, dh]], { dx: x, ...prefixed({ weight, bias }) })) };
}

function headPrograms(config: GptjConfig): Programs<"headForward" | "headBackward" | "headWeightBackward"> {
  const g = new GraphBuilder();
  const h = g.input("h", "float32", "N", config.width);
  const weight = g.input("weight", "float32", "V", config.width);
  const logits = g.linear(h, weight, g.input("bias", "float32", "V"));
  const shares = g.softmax(logits);
  // the largest share is exp(0) / Σ exp: softmax is one fast pass over [N,V], exp and sum would be three slow ones
  const sumexp = g.div(g.constant(1), g.max(shares, [1], false));
  const headForward = g.program("head.forward", { logits, shares, max: g.max(logits, [1], false), sumexp });
  const slope = g.input("slope", "float32", "N", "V");
  const factor = g.input("factor", "float32", "N", 1);
  const headBackward = g.program("head.backward", { dh: g.mul(g.matMul(slope, weight), factor) });
  const headWeightBackward = g.program("head.weight.backward", {
    // on its side and turned: a transposed [N,V] would be read against the grain
    "d.weight": g.transpose(g.matMul(g.mul(h, factor), slope, { transA: true }), 1, 0),
    "d.bias": g.reshape(g.matMul(factor, slope, { transA: true }), "V"),
  });
  return { headForward, headBackward, headWeightBackward };
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
