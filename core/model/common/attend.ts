import { GraphBuilder, type Program, type Value } from "../../graph/graph.js";
import { namedGradients, prefixed } from "./named-gradients.js";

/** Causal attention of one row: S tokens, H heads of width W, which share G heads of keys and values; D = H·W. */
export interface AttendPrograms {
  /** q [S,D], k, v [S,G·W], causal[S,S] → gathered[S,D]; q and k after rotation, see `PackedRow` for the mask */
  readonly attendForward: Program;
  /** q, k, v, causal, d.gathered[S,D] → d.q, d.k, d.v; computes the scores again */
  readonly attendBackward: Program;
}

/** The graphs of attention; scores are divided by √W. */
export function attendPrograms(H: number, W: number, G = H): AttendPrograms {
  const D = H * W;
  const g = new GraphBuilder();
  const q = g.input("q", "float32", "S", D);
  const [k, v] = ["k", "v"].map((name) => g.input(name, "float32", "S", G * W)) as [Value, Value];
  // heads that share keys and values lie side by side
  const heads = (x: Value, shared: number): Value =>
    G === H ? g.transpose(g.reshape(x, "S", H, W), 1, 0, 2) : g.transpose(g.reshape(x, "S", G, shared, W), 1, 2, 0, 3);
  const y = g.attend(heads(q, H / G), heads(k, 1), heads(v, 1), g.input("causal", "float32", "S", "S"), 1 / Math.sqrt(W));
  const gathered_SD = g.reshape(G === H ? g.transpose(y, 1, 0, 2) : g.transpose(y, 2, 0, 1, 3), "S", D);
  const attendForward = g.program("attend.forward", { gathered: gathered_SD });
  const slope_SD = g.input("d.gathered", "float32", "S", D);
  const slopes = namedGradients(g, [[gathered_SD, slope_SD]], prefixed({ q, k, v }));
  return { attendForward, attendBackward: g.program("attend.backward", slopes) };
}
