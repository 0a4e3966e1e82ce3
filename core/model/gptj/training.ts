import { GraphBuilder, type Program, type Value } from "../../graph/graph.js";
import { attendPrograms, type AttendPrograms } from "../common/attend.js";
import { namedGradients, prefixed } from "../common/named-gradients.js";
import { rotaryFrequencies, rotaryTables } from "../common/rotary.js";
import { headPrograms, normPrograms } from "../common/ends.js";
import { Weights } from "../common/weights.js";
import type { ParameterSet, ParameterSpec, TrainingProgram } from "../family.js";
import { join, project } from "./block.js";
import type { GptjShape } from "./config.js";

/**
 * The graphs that train a GPT-J; everything is float32. A block is three graphs, because attention works on the S tokens of one
 * row and everything else on the T tokens of all rows. D is the model's width, F the MLP's, R half of what is rotated of a head; N counts the positions that
 * carry loss, V the words of a slice of the vocabulary. Gradients are named `d.<input>`.
 */
export interface GptjPrograms extends AttendPrograms {
  /** x[T,D], cos, sin [T,rotaryDim/2], weights → q, k [T,D] rotated, v[T,D], inner[T,F] */
  readonly projectForward: Program;
  /** x[T,D], gathered[T,D], inner[T,F], weights → y[T,D] */
  readonly joinForward: Program;
  /** dy[T,D], gathered[T,D], weights → d.gathered[T,D], d.activated[T,F], d.<weight> but that of the MLP's last layer */
  readonly joinBackward: Program;
  /** inner[T,F], d.activated[T,F] → activated[T,F], d.inner[T,F] */
  readonly activateBackward: Program;
  /** x[T,D], cos, sin, d.q, d.k, d.v [T,D], d.inner, activated [T,F], dy[T,D], weights → dx[T,D], d.<weight>, with those of the MLP's last layer; computes the norm again */
  readonly projectBackward: Program;
}

/** How a GPT-J is trained. */
export function gptjTraining(shape: GptjShape, parameters: ParameterSet): TrainingProgram {
  const { width: D, normEpsilon } = shape;
  const programs = blockPrograms(shape, parameters.blocks[0]!);
  return {
    tables: rotaryTables(shape.positions, rotaryFrequencies(shape.rotaryDim)),
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
    norm: normPrograms(D, parameters.norm, (g, x_ND, weights) =>
      g.layerNorm(x_ND, weights.get("weight"), weights.get("bias"), normEpsilon),
    ),
    head: headPrograms(D, parameters.head),
  };
}

/** The block's graphs by what they are; `specs` are the parameters of a block. */
export function blockPrograms(shape: GptjShape, specs: readonly ParameterSpec[]): GptjPrograms {
  return { ...projectPrograms(shape, specs), ...attendPrograms(shape.heads, shape.headWidth), ...joinPrograms(shape, specs) };
}

/** Those of the MLP's last layer that are multiplied with what goes into it. */
const isLast = (input: string): boolean => input.startsWith("mlp.fc_out.") && input !== "mlp.fc_out.bias";

type Programs<K extends keyof GptjPrograms> = Pick<GptjPrograms, K>;

function projectPrograms(shape: GptjShape, specs: readonly ParameterSpec[]): Programs<"projectForward" | "projectBackward"> {
  const { width: D, innerWidth: F, heads, rotaryDim } = shape;
  const g = new GraphBuilder();
  const x_TD = g.input("x", "float32", "T", D);
  const cos_TR = g.input("cos", "float32", "T", rotaryDim / 2);
  const sin_TR = g.input("sin", "float32", "T", rotaryDim / 2);
  const weights = new Weights(g, specs);
  const { q, k, v, inner } = project(g, shape, x_TD, weights);
  const rotate = (y_TD: Value): Value => g.rotary(y_TD, cos_TR, sin_TR, heads, rotaryDim);
  const outputs = { q: rotate(q), k: rotate(k), v, inner };
  const projectForward = g.program("project.forward", outputs);
  const seeds = Object.entries(outputs).map(
    ([name, value]) => [value, g.input(`d.${name}`, "float32", "T", name === "inner" ? F : D)] as const,
  );
  const { dx, ...rest } = namedGradients(g, seeds, { dx: x_TD, ...weights.trained(projectForward) });
  // the block adds x to both as it is
  const dy_TD = g.input("dy", "float32", "T", D);
  const mlp_TD = weights.linear(g.input("activated", "float32", "T", F), "mlp.fc_out");
  const last = namedGradients(g, [[mlp_TD, dy_TD]], weights.trained(g.program("", { mlp_TD }), isLast));
  const projectBackward = g.program("project.backward", { dx: g.add(dy_TD, dx!), ...rest, ...last });
  return { projectForward, projectBackward };
}

function joinPrograms(shape: GptjShape, specs: readonly ParameterSpec[]): Programs<"joinForward" | "joinBackward" | "activateBackward"> {
  const { width: D, innerWidth: F } = shape;
  const g = new GraphBuilder();
  const gathered = g.input("gathered", "float32", "T", D);
  const inner = g.input("inner", "float32", "T", F);
  const weights = new Weights(g, specs);
  const activated = g.gelu(inner);
  const both_TD = join(g, gathered, activated, weights);
  const joinForward = g.program("join.forward", { y: g.add(both_TD, g.input("x", "float32", "T", D)) });
  const dy_TD = g.input("dy", "float32", "T", D);
  const slopes = namedGradients(g, [[both_TD, dy_TD]], {
    ...prefixed({ gathered, activated }),
    ...weights.trained(joinForward, (input) => !isLast(input)),
  });
  const joinBackward = g.program("join.backward", slopes);
  const slope_TF = g.input("d.activated", "float32", "T", F);
  const activateBackward = g.program("activate.backward", {
    activated,
    ...namedGradients(g, [[activated, slope_TF]], prefixed({ inner })),
  });
  return { joinForward, joinBackward, activateBackward };
}
