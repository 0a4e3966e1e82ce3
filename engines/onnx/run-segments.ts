import { floats, type Tensor } from "../../core/graph/tensor.js";
import type { PackedRows } from "../../core/model/common/pack.js";
import type { BoundSegment, Port } from "./block-plan.js";

/** Runs the graph of a name on inputs, of which there may be more than it takes, into outputs. */
export type RunGraph = (
  graph: string,
  inputs: Readonly<Record<string, Tensor>>,
  outputs: Readonly<Record<string, Tensor>>,
) => Promise<unknown>;

/** What a block's segments take and give, by name. */
export interface BlockTensors {
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** of the parameters, by `d.<input>`; a forward pass has none */
  readonly gradients?: Readonly<Record<string, Tensor>>;
  /** [T, width] the values and the tables */
  readonly values: Readonly<Record<string, Tensor>>;
  /** [T, D] where the block begins and ends: x and y, dy and dx */
  readonly ends: Readonly<Record<string, Tensor>>;
}

/** Tokens of a segment that runs over a few at a time. */
const CHUNK_TOKENS = 32;

/** Runs segments one after the other. */
export async function runSegments(
  run: RunGraph,
  segments: readonly BoundSegment[],
  packed: PackedRows,
  tensors: BlockTensors,
): Promise<void> {
  for (const { over, graph, inputs, outputs } of segments)
    for (const span of over === "tokens" ? ALL : over === "row" ? packed.rows : chunksOf(packed.tokens))
      await run(graph, bind(inputs, tensors.parameters, tensors, span), bind(outputs, tensors.gradients, tensors, span));
}

/** Some tokens in a row, with the mask where they are a row of the micro-batch; null: all tokens. */
type Span = { readonly first: number; readonly length: number; readonly causal?: Tensor } | null;

const ALL: readonly Span[] = [null];

function chunksOf(tokens: number): Span[] {
  const chunks: Span[] = [];
  for (let first = 0; first < tokens; first += CHUNK_TOKENS) chunks.push({ first, length: Math.min(CHUNK_TOKENS, tokens - first) });
  return chunks;
}

/** What ports are bound to while a segment is at a span. */
function bind(
  ports: readonly Port[],
  whole: BlockTensors["gradients"],
  { values, ends }: BlockTensors,
  span: Span,
): Record<string, Tensor> {
  const bound: Record<string, Tensor> = {};
  for (const { name, kind } of ports) {
    const tensor = kind === "whole" ? whole?.[name] : kind === "mask" ? span?.causal : (values[name] ?? ends[name]);
    if (tensor === undefined) throw new Error(`a block's graph takes or gives a tensor that is not there [name=${name}]`);
    bound[name] = kind === "tokens" && span !== null ? rowsOf(tensor, span) : tensor;
  }
  return bound;
}

/** Of a tensor of all tokens [T, width] those of a span: a view. */
function rowsOf({ data, shape }: Tensor, { first, length }: NonNullable<Span>): Tensor {
  const width = shape[1]!;
  return floats((data as Float32Array).subarray(first * width, (first + length) * width), length, width);
}
