import { GraphBuilder, type Program, type Value } from "../../graph/graph.js";
import { namedGradients, prefixed } from "./named-gradients.js";

/** Causal attention of one row: S tokens, H heads of width W, which each have keys and values of their own, D = H·W. */
export interface AttendPrograms {
  /** q, k, v [S,D], causal[S,S] → gathered[S,D]; q and k after rotation, see `PackedRow` for the mask */
  readonly attendForward: Program;
  /** q, k, v [S,D], causal[S,S], d.gathered[S,D] → d.q, d.k, d.v [S,D]; computes the scores again */
  readonly attendBackward: Program;
}

/** The graphs of attention; scores are divided by √W. */
export function attendPrograms(H: number, W: number): AttendPrograms {
  const D = H * W;
  const g = new GraphBuilder();
  const [q, k, v] = ["q", "k", "v"].map((name) => g.input(name, "float32", "S", D)) as [Value, Value, Value];
  const heads = (x_SD: Value): Value => g.transpose(g.reshape(x_SD, "S", H, W), 1, 0, 2);
  const y_HSW = g.attend(heads(q), heads(k), heads(v), g.input("causal", "float32", "S", "S"), 1 / Math.sqrt(W));
  const gathered_SD = g.reshape(g.transpose(y_HSW, 1, 0, 2), "S", D);
  const attendForward = g.program("attend.forward", { gathered: gathered_SD });
  const slope_SD = g.input("d.gathered", "float32", "S", D);
  const slopes = namedGradients(g, [[gathered_SD, slope_SD]], prefixed({ q, k, v }));
  return { attendForward, attendBackward: g.program("attend.backward", slopes) };
}
