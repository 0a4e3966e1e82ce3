import type { PackedRows } from "../common/pack.js";
import { floats, type Tensor } from "../../graph/tensor.js";
import type { GptjConfig } from "./config.js";
import type { ModelGraphs } from "./training.js";

/** Runs one of the model's graphs into the outputs given. */
export type RunGraph = (graph: keyof ModelGraphs, inputs: Record<string, Tensor>, outputs: Record<string, Tensor>) => Promise<unknown>;

/** What a block's backward pass needs besides its input: q, k, v and what the heads gathered [T,D], and inner [T,F]. */
export type Activations = Readonly<Record<"q" | "k" | "v" | "gathered" | "inner", Tensor>>;

/** Memory for them, of `take`'s giving: [tokens, width] each. */
export function activations(config: GptjConfig, tokens: number, take: (name: string, width: number) => Float32Array): Activations {
  const { width: D, innerWidth: F } = config;
  const make = (name: string, width: number): Tensor => floats(take(name, width), tokens, width);
  return { q: make("q", D), k: make("k", D), v: make("v", D), gathered: make("gathered", D), inner: make("inner", F) };
}

/** Of a tensor of all tokens [T,D] those of one row [S,D]: a view. */
export function ofRow({ data, shape }: Tensor, { first, length }: { readonly first: number; readonly length: number }): Tensor {
  const width = shape[1]!;
  return floats((data as Float32Array).subarray(first * width, (first + length) * width), length, width);
}

/** The first two thirds of a block: x[T,D] to its activations. */
export async function projectAndAttend(
  run: RunGraph,
  packed: PackedRows,
  x: Tensor,
  weights: Readonly<Record<string, Tensor>>,
  { q, k, v, inner, gathered }: Activations,
): Promise<void> {
  await run("projectForward", { x, ...packed.rotation, ...weights }, { q, k, v, inner });
  for (const row of packed.rows)
    await run(
      "attendForward",
      { q: ofRow(q, row), k: ofRow(k, row), v: ofRow(v, row), causal: row.causal },
      { gathered: ofRow(gathered, row) },
    );
}

/** A whole block, x[T,D] to y[T,D]; leaves its activations. */
export async function blockForward(
  run: RunGraph,
  packed: PackedRows,
  x: Tensor,
  weights: Readonly<Record<string, Tensor>>,
  kept: Activations,
  y: Tensor,
): Promise<void> {
  await projectAndAttend(run, packed, x, weights, kept);
  await run("joinForward", { x, gathered: kept.gathered, inner: kept.inner, ...weights }, { y });
}
