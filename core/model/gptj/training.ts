import { GraphBuilder, type Program, type Value } from "../../graph/graph.js";
import { namedGradients, prefixed } from "../common/named-gradients.js";
import { rotaryTables } from "../common/rotary.js";
import type { TrainingProgram } from "../family.js";
import { attendRow, blockInputs, join, project } from "./block.js";
import type { GptjShape } from "./config.js";

/**
 * The graphs that train a GPT-J; everything is float32. A block is three graphs, because attention works on the S tokens of one
 * row and everything else on the T tokens of all rows. D is the model's width, F the MLP's, R half of what is rotated of a head; N counts the positions that
 * carry loss, V the words of a slice of the vocabulary. Gradients are named `d.<input>`.
 */
export interface GptjPrograms {
  /** x[T,D], cos, sin [T,rotaryDim/2], weights → q, k [T,D] rotated, v[T,D], inner[T,F] */
  readonly projectForward: Program;
  /** q, k, v [S,D], causal[S,S] → gathered[S,D] */
  readonly attendForward: Program;
  /** x[T,D], gathered[T,D], inner[T,F], weights → y[T,D] */
  readonly joinForward: Program;
  /** dy[T,D], gathered[T,D], weights → d.gathered[T,D], d.activated[T,F], d.<weight> but that of the MLP's last matrix */
  readonly joinBackward: Program;
  /** inner[T,F], d.activated[T,F] → activated[T,F], d.inner[T,F] */
  readonly activateBackward: Program;
  /** q, k, v [S,D], causal[S,S], d.gathered[S,D] → d.q, d.k, d.v [S,D]; computes the scores again */
  readonly attendBackward: Program;
  /** x[T,D], cos, sin, d.q, d.k, d.v [T,D], d.inner, activated [T,F], dy[T,D], weights → dx[T,D], d.<weight>, with that of the MLP's last matrix; computes the norm again */
  readonly projectBackward: Program;
  /** x[N,D], weight[D], bias[D] → h[N,D] */
  readonly finalNormForward: Program;
  /** x[N,D], dh[N,D], weight[D], bias[D] → dx[N,D], d.weight[D], d.bias[D] */
  readonly finalNormBackward: Program;
  /** see `TrainingProgram` */
  readonly headForward: Program;
  /** factor is apart from slope, so that a slice's shares need no other pass over [N,V] than the products */
  readonly headBackward: Program;
  /** d.weight[V,D], d.bias[V], which no other shard waits for */
  readonly headWeightBackward: Program;
}

/** How a GPT-J is trained. */
export function gptjTraining(shape: GptjShape): TrainingProgram {
  const programs = modelPrograms(shape);
  return {
    tables: rotaryTables(shape.positions, shape.rotaryDim),
    block: {
      forward: [
        { over: "tokens", program: programs.projectForward },
        { over: "row", program: programs.attendForward },
        { over: "tokens", program: programs.joinForward },
      ],
      backward: [
        { over: "tokens", program: programs.joinBackward },
        // a dozen passes, element by element
        { over: "chunk", program: programs.activateBackward },
        { over: "row", program: programs.attendBackward },
        { over: "tokens", program: programs.projectBackward },
      ],
    },
    norm: { forward: programs.finalNormForward, backward: programs.finalNormBackward },
    head: { forward: programs.headForward, backward: programs.headBackward, weightBackward: programs.headWeightBackward },
  };
}

/** The same graphs by what they are. */
export function modelPrograms(shape: GptjShape): GptjPrograms {
  return {
    ...projectPrograms(shape),
    ...attendPrograms(shape),
    ...joinPrograms(shape),
    ...normPrograms(shape),
    ...headPrograms(shape),
  };
}

type Programs<K extends keyof GptjPrograms> = Pick<GptjPrograms, K>;

function projectPrograms(shape: GptjShape): Programs<"projectForward" | "projectBackward"> {
  const { width: D, innerWidth: F, heads, rotaryDim } = shape;
  const g = new GraphBuilder();
  const x_TD = g.input("x", "float32", "T", D);
  const cos_TR = g.input("cos", "float32", "T", rotaryDim / 2);
  const sin_TR = g.input("sin", "float32", "T", rotaryDim / 2);
  const weights = blockInputs(g, shape);
  const { q, k, v, inner } = project(g, shape, x_TD, weights);
  const rotate = (y_TD: Value): Value => g.rotary(y_TD, cos_TR, sin_TR, heads, rotaryDim);
  const outputs = { q: rotate(q), k: rotate(k), v, inner };
  const projectForward = g.program("project.forward", outputs);
  const seeds = Object.entries(outputs).map(
    ([name, value]) => [value, g.input(`d.${name}`, "float32", "T", name === "inner" ? F : D)] as const,
  );
  const taken = Object.fromEntries(Object.entries(weights).filter(([, weight]) => projectForward.inputs.includes(weight)));
  const { dx, ...rest } = namedGradients(g, seeds, { dx: x_TD, ...prefixed(taken) });
  // the block adds x to both as it is
  const dy_TD = g.input("dy", "float32", "T", D);
  const last_DF = g.matMul(dy_TD, g.input("activated", "float32", "T", F), { transA: true });
  const projectBackward = g.program("project.backward", { dx: g.add(dy_TD, dx!), ...rest, "d.mlp.fc_out.weight": last_DF });
  return { projectForward, projectBackward };
}

function attendPrograms(shape: GptjShape): Programs<"attendForward" | "attendBackward"> {
  const D = shape.width;
  const g = new GraphBuilder();
  const [q, k, v] = ["q", "k", "v"].map((name) => g.input(name, "float32", "S", D)) as [Value, Value, Value];
  const gathered_SD = attendRow(g, shape, q, k, v, g.input("causal", "float32", "S", "S"));
  const attendForward = g.program("attend.forward", { gathered: gathered_SD });
  const slope_SD = g.input("d.gathered", "float32", "S", D);
  const slopes = namedGradients(g, [[gathered_SD, slope_SD]], prefixed({ q, k, v }));
  return { attendForward, attendBackward: g.program("attend.backward", slopes) };
}

function joinPrograms(shape: GptjShape): Programs<"joinForward" | "joinBackward" | "activateBackward"> {
  const { width: D, innerWidth: F } = shape;
  const g = new GraphBuilder();
  const gathered = g.input("gathered", "float32", "T", D);
  const inner = g.input("inner", "float32", "T", F);
  const weights = blockInputs(g, shape);
  const activated = g.gelu(inner);
  const both_TD = join(g, gathered, activated, weights);
  const joinForward = g.program("join.forward", { y: g.add(both_TD, g.input("x", "float32", "T", D)) });
  const outProjection = { "attn.out_proj.weight": weights["attn.out_proj.weight"]!, "mlp.fc_out.bias": weights["mlp.fc_out.bias"]! };
  const dy_TD = g.input("dy", "float32", "T", D);
  const slopes = namedGradients(g, [[both_TD, dy_TD]], prefixed({ gathered, activated, ...outProjection }));
  const joinBackward = g.program("join.backward", slopes);
  const slope_TF = g.input("d.activated", "float32", "T", F);
  const activateBackward = g.program("activate.backward", {
    activated,
    ...namedGradients(g, [[activated, slope_TF]], prefixed({ inner })),
  });
  return { joinForward, joinBackward, activateBackward };
}

function normPrograms(shape: GptjShape): Programs<"finalNormForward" | "finalNormBackward"> {
  const D = shape.width;
  const g = new GraphBuilder();
  const x_ND = g.input("x", "float32", "N", D);
  const weight = g.input("weight", "float32", D);
  const bias = g.input("bias", "float32", D);
  const h_ND = g.layerNorm(x_ND, weight, bias, shape.normEpsilon);
  const finalNormForward = g.program("norm.forward", { h: h_ND });
  const dh_ND = g.input("dh", "float32", "N", D);
  const slopes = namedGradients(g, [[h_ND, dh_ND]], { dx: x_ND, ...prefixed({ weight, bias }) });
  return { finalNormForward, finalNormBackward: g.program("norm.backward", slopes) };
}

function headPrograms(shape: GptjShape): Programs<"headForward" | "headBackward" | "headWeightBackward"> {
  const g = new GraphBuilder();
  const h_ND = g.input("h", "float32", "N", shape.width);
  const weight_VD = g.input("weight", "float32", "V", shape.width);
  const logits_NV = g.linear(h_ND, weight_VD, g.input("bias", "float32", "V"));
  const shares_NV = g.softmax(logits_NV);
  // the largest share is exp(0) / Σ exp: softmax is one fast pass over [N,V], exp and sum would be three slow ones
  const sumexp_N = g.div(g.constant(1), g.max(shares_NV, [1], false));
  const max_N = g.max(logits_NV, [1], false);
  const headForward = g.program("head.forward", { logits: logits_NV, shares: shares_NV, max: max_N, sumexp: sumexp_N });
  const slope_NV = g.input("slope", "float32", "N", "V");
  const factor_N1 = g.input("factor", "float32", "N", 1);
  const headBackward = g.program("head.backward", { dh: g.mul(g.matMul(slope_NV, weight_VD), factor_N1) });
  const headWeightBackward = g.program("head.weight.backward", {
    // the product is made on its side and turned: a transposed [N,V] would be read against the grain
    "d.weight": g.transpose(g.matMul(g.mul(h_ND, factor_N1), slope_NV, { transA: true }), 1, 0),
    "d.bias": g.reshape(g.matMul(factor_N1, slope_NV, { transA: true }), "V"),
  });
  return { headForward, headBackward, headWeightBackward };
}
