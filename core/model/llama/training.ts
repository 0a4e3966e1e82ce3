import { GraphBuilder, type Program, type Value } from "../../graph/graph.js";
import { attendPrograms } from "../common/attend.js";
import { headPrograms, normPrograms } from "../common/ends.js";
import { namedGradients, prefixed } from "../common/named-gradients.js";
import { rotaryTables } from "../common/rotary.js";
import { Weights } from "../common/weights.js";
import type { ParameterSet, ParameterSpec, TrainingProgram } from "../family.js";
import { activate, join, project, widen } from "./block.js";
import type { LlamaShape } from "./config.js";

/** How a Llama is trained. Sizes as in block.ts; gradients are named `d.<input>`. Norms, scores and the activation are computed again on the way back. */
export function llamaTraining(shape: LlamaShape, parameters: ParameterSet): TrainingProgram {
  const specs = parameters.blocks[0]!;
  const [projectForward, projectBackward] = projectPrograms(shape, specs);
  const { attendForward, attendBackward } = attendPrograms(shape.heads, shape.headWidth, shape.keyValueHeads);
  const [downBackward, activateBackward, mlpBackward] = mlpPrograms(shape, specs);
  return {
    tables: rotaryTables(shape.positions, shape.frequencies),
    block: {
      forward: [
        { over: "tokens", program: projectForward },
        { over: "row", program: attendForward },
        { over: "tokens", program: joinProgram(shape, specs) },
      ],
      backward: [
        { over: "tokens", program: downBackward },
        // a dozen passes, element by element
        { over: "chunk", program: activateBackward },
        { over: "tokens", program: mlpBackward },
        { over: "row", program: attendBackward },
        { over: "tokens", program: projectBackward },
      ],
    },
    norm: normPrograms(shape.width, parameters.norm, (g, x_ND, weights) => g.rmsNorm(x_ND, weights.get("weight"), shape.normEpsilon)),
    head: headPrograms(shape.width, parameters.head),
  };
}

/** x[T,D], cos, sin [T,W/2], weights → q, k rotated, v; and back: d.q, d.k, d.v, d.r, what goes around attention, → dx, d.<weight>. */
function projectPrograms(shape: LlamaShape, specs: readonly ParameterSpec[]): [Program, Program] {
  const { width: D, headWidth: W, heads: H, keyValueHeads: G } = shape;
  const g = new GraphBuilder();
  const x_TD = g.input("x", "float32", "T", D);
  const [cos, sin] = ["cos", "sin"].map((name) => g.input(name, "float32", "T", W / 2)) as [Value, Value];
  const weights = new Weights(g, specs);
  const { q, k, v } = project(g, shape, x_TD, weights);
  const outputs = { q: g.rotary(q, cos, sin, H, W, true), k: g.rotary(k, cos, sin, G, W, true), v };
  const forward = g.program("project.forward", outputs);
  const seeds = Object.entries(outputs).map(([name, value]) => [value, g.input(`d.${name}`, "float32", ...value.shape)] as const);
  const { dx, ...rest } = namedGradients(g, seeds, { dx: x_TD, ...weights.trained(forward) });
  return [forward, g.program("project.backward", { dx: g.add(g.input("d.r", "float32", "T", D), dx!), ...rest })];
}

/** x[T,D], gathered[T,H·W], weights → r[T,D], gate, up [T,F], y[T,D]. */
function joinProgram(shape: LlamaShape, specs: readonly ParameterSpec[]): Program {
  const g = new GraphBuilder();
  const x_TD = g.input("x", "float32", "T", shape.width);
  const gathered = g.input("gathered", "float32", "T", shape.heads * shape.headWidth);
  return g.program("join.forward", join(g, shape, x_TD, gathered, new Weights(g, specs)));
}

/**
 * The way back to attention: dy[T,D] → d.activated[T,F]; with gate, up → d.gate, d.up and, where a weight's gradient needs it,
 * activated; with r, gathered → d.r[T,D], d.gathered[T,H·W], d.<weight>.
 */
function mlpPrograms(shape: LlamaShape, specs: readonly ParameterSpec[]): [Program, Program, Program] {
  const { width: D, innerWidth: F } = shape;
  const g = new GraphBuilder();
  const [dy, r] = ["dy", "r"].map((name) => g.input(name, "float32", "T", D)) as [Value, Value];
  const [gate, up, slope, activated] = ["gate", "up", "d.activated", "activated"].map((name) => g.input(name, "float32", "T", F)) as [
    Value,
    Value,
    Value,
    Value,
  ];
  const gathered = g.input("gathered", "float32", "T", shape.heads * shape.headWidth);
  const weights = new Weights(g, specs);
  const trained = (...values: Value[]): Record<string, Value> => weights.trained(g.program("", Object.fromEntries(values.entries())));

  const down = weights.linear(activated, "mlp.down_proj");
  const downBackward = g.program("down.backward", namedGradients(g, [[down, dy]], prefixed({ activated })));
  const last = namedGradients(g, [[down, dy]], trained(down));

  const wide = widen(g, shape, r, weights);
  const seeds = Object.entries(wide).map(([name, value]) => [value, g.input(`d.${name}`, "float32", "T", F)] as const);
  const { dr, ...inner } = namedGradients(g, seeds, { dr: r, ...trained(wide.gate, wide.up) });
  const around = g.add(dy, dr!);
  const attended = weights.linear(gathered, "self_attn.o_proj");
  const outer = namedGradients(g, [[attended, around]], { ...prefixed({ gathered }), ...trained(attended) });
  const mlpBackward = g.program("mlp.backward", { "d.r": around, ...outer, ...inner, ...last });

  const met = activate(g, gate, up);
  const activateBackward = g.program("activate.backward", {
    ...(mlpBackward.inputs.includes(activated) && { activated: met }),
    ...namedGradients(g, [[met, slope]], prefixed({ gate, up })),
  });
  return [downBackward, activateBackward, mlpBackward];
}
