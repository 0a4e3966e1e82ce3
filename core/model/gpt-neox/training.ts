import { GraphBuilder, type Program, type Value } from "../../graph/graph.js";
import { attendPrograms } from "../common/attend.js";
import { headPrograms, normPrograms } from "../common/ends.js";
import { namedGradients, prefixed } from "../common/named-gradients.js";
import { Weights } from "../common/weights.js";
import type { ModelFamily, ParameterSpec } from "../family.js";
import { fuse, norm, project, widen } from "./block.js";
import { tables, type GptNeoxShape } from "./config.js";

/** How a GPT-NeoX is trained: T tokens of all rows end to end, D the model's width, F the MLP's, R half of what is rotated of a head. */
export const gptNeoxTraining: ModelFamily<GptNeoxShape>["training"] = (shape, parameters) => {
  const [specs] = parameters.blocks;
  const { attendForward, attendBackward } = attendPrograms(shape.heads, shape.headWidth);
  const { projectForward, projectBackward } = projectPrograms(shape, specs!);
  const { widenForward, widenBackward } = widenPrograms(shape, specs!);
  const { narrowForward, narrowBackward, activateBackward } = narrowPrograms(shape, specs!);
  return {
    tables: tables(shape),
    block: {
      forward: [
        { over: "tokens", program: projectForward },
        { over: "row", program: attendForward },
        { over: "tokens", program: widenForward },
        { over: "tokens", program: narrowForward },
      ],
      backward: [
        { over: "tokens", program: narrowBackward },
        // many passes, element by element
        { over: "chunk", program: activateBackward },
        { over: "tokens", program: widenBackward },
        { over: "row", program: attendBackward },
        { over: "tokens", program: projectBackward },
      ],
    },
    norm: normPrograms(shape.width, parameters.norm, (g, x_ND, weights) => norm(g, shape, x_ND, weights, "")),
    head: headPrograms(shape.width, parameters.head),
  };
};

/** Those of the MLP's last layer that are multiplied with what goes into it. */
const isLast = (input: string): boolean => input.startsWith("mlp.dense_4h_to_h.") && input !== "mlp.dense_4h_to_h.bias";

/**
 * Forward: x[T,D], cos, sin [T,R], weights → q, k [T,D] rotated, v[T,D].
 * Backward: x[T,D], cos, sin, d.q, d.k, d.v [T,D], d.middle[T,D], what reaches x around attention, weights → dx[T,D], d.<weight>.
 */
function projectPrograms(shape: GptNeoxShape, specs: readonly ParameterSpec[]): Record<"projectForward" | "projectBackward", Program> {
  const { width: D, heads, rotaryDim } = shape;
  const g = new GraphBuilder();
  const x_TD = g.input("x", "float32", "T", D);
  const cos_TR = g.input("cos", "float32", "T", rotaryDim / 2);
  const sin_TR = g.input("sin", "float32", "T", rotaryDim / 2);
  const weights = new Weights(g, specs);
  const { fused, q, k, v } = project(g, shape, x_TD, weights);
  const rotate = (y_TD: Value, sin: Value): Value => g.rotary(y_TD, cos_TR, sin, heads, rotaryDim, true);
  const projectForward = g.program("project.forward", { q: rotate(q, sin_TR), k: rotate(k, sin_TR), v });
  const [dq, dk, dv] = ["q", "k", "v"].map((name) => g.input(`d.${name}`, "float32", "T", D)) as [Value, Value, Value];
  const back_TR = g.neg(sin_TR);
  const seed = fuse(g, shape, [rotate(dq, back_TR), rotate(dk, back_TR), dv]);
  const { dx, ...rest } = namedGradients(g, [[fused, seed]], { dx: x_TD, ...weights.trained(projectForward) });
  return {
    projectForward,
    projectBackward: g.program("project.backward", { dx: g.add(g.input("d.middle", "float32", "T", D), dx!), ...rest }),
  };
}

/**
 * Forward: x, gathered [T,D], weights → middle[T,D], x with attention's part, and inner[T,F], the MLP's before its activation.
 * Backward: x or middle, gathered, dy [T,D], d.inner, activated [T,F], weights → d.gathered[T,D], d.middle[T,D], what reaches x
 * around attention, d.<weight>, with those of the MLP's last layer.
 */
function widenPrograms(shape: GptNeoxShape, specs: readonly ParameterSpec[]): Record<"widenForward" | "widenBackward", Program> {
  const { width: D, innerWidth: F, parallel } = shape;
  const forward = new GraphBuilder();
  const x_TD = forward.input("x", "float32", "T", D);
  const taken = new Weights(forward, specs);
  const middle = forward.add(taken.linear(forward.input("gathered", "float32", "T", D), "attention.dense"), x_TD);
  const inner = widen(forward, shape, parallel ? x_TD : middle, taken);
  const widenForward = forward.program("widen.forward", { middle, inner });

  // the way back begins with what was kept
  const g = new GraphBuilder();
  const weights = new Weights(g, specs);
  const before_TD = g.input(parallel ? "x" : "middle", "float32", "T", D);
  const inner_TF = widen(g, shape, before_TD, weights);
  const seed_TF = g.input("d.inner", "float32", "T", F);
  const trained = (y: Value, wanted?: (input: string) => boolean): Record<string, Value> => weights.trained(g.program("", { y }), wanted);
  const { before, ...inside } = namedGradients(g, [[inner_TF, seed_TF]], { before: before_TD, ...trained(inner_TF) });
  const dy_TD = g.input("dy", "float32", "T", D);
  const middle_TD = g.add(dy_TD, before!);
  const gathered = g.input("gathered", "float32", "T", D);
  const attended_TD = weights.linear(gathered, "attention.dense");
  const attendedSeed_TD = parallel ? dy_TD : middle_TD;
  const attention = namedGradients(g, [[attended_TD, attendedSeed_TD]], { ...prefixed({ gathered }), ...trained(attended_TD) });
  const last_TD = weights.linear(g.input("activated", "float32", "T", F), "mlp.dense_4h_to_h");
  const last = namedGradients(g, [[last_TD, dy_TD]], trained(last_TD, isLast));
  return { widenForward, widenBackward: g.program("widen.backward", { "d.middle": middle_TD, ...inside, ...attention, ...last }) };
}

type Narrow = Record<"narrowForward" | "narrowBackward" | "activateBackward", Program>;

/**
 * Forward: middle[T,D], inner[T,F], weights → y[T,D].
 * Backward: dy[T,D], weights → d.activated[T,F], d.<bias>; then inner, d.activated [T,F] → activated, d.inner [T,F].
 */
function narrowPrograms({ width: D, innerWidth: F, activation }: GptNeoxShape, specs: readonly ParameterSpec[]): Narrow {
  const g = new GraphBuilder();
  const weights = new Weights(g, specs);
  const inner = g.input("inner", "float32", "T", F);
  const activated = g[activation](inner);
  const last_TD = weights.linear(activated, "mlp.dense_4h_to_h");
  const narrowForward = g.program("narrow.forward", { y: g.add(last_TD, g.input("middle", "float32", "T", D)) });
  const slopes = namedGradients(g, [[last_TD, g.input("dy", "float32", "T", D)]], {
    ...prefixed({ activated }),
    ...weights.trained(narrowForward, (input) => !isLast(input)),
  });
  const narrowBackward = g.program("narrow.backward", slopes);
  const seed_TF = g.input("d.activated", "float32", "T", F);
  const outputs = { activated, ...namedGradients(g, [[activated, seed_TF]], prefixed({ inner })) };
  return { narrowForward, narrowBackward, activateBackward: g.program("activate.backward", outputs) };
}
