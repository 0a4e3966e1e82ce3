import { gradients } from "../../graph/gradients.js";
import type { GraphBuilder, Value } from "../../graph/graph.js";

/** The gradients of `wanted` by their names there, as a graph's outputs; see `gradients`. */
export function namedGradients(
  g: GraphBuilder,
  seeds: readonly (readonly [Value, Value])[],
  wanted: Readonly<Record<string, Value>>,
): Record<string, Value> {
  const found = gradients(g, seeds, Object.values(wanted));
  return Object.fromEntries(Object.keys(wanted).map((name, index) => [name, found[index]!]));
}

/** Values by the names of their gradients, `d.<name>`. */
export function prefixed(values: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`d.${name}`, value]));
}
