import type { GptjConfig } from "../core/model/config.js";
import { modelPrograms } from "../core/model/graphs.js";
import type { Node, Program } from "../core/onnx/graph.js";
import type { Dimension } from "../core/onnx/tensor.js";

/** Arithmetic counted from shapes: two operations for each multiplication in a matrix product, nothing for the rest. */

/** What a graph's named dimensions are. */
type Sizes = Readonly<Record<string, number>>;

/** Operations of a graph's matrix products where its named dimensions have these sizes. */
export function programFlops(program: Program, sizes: Sizes): number {
  return program.nodes.reduce((sum, node) => sum + nodeFlops(node, sizes), 0);
}

function nodeFlops({ op, attributes, inputs, outputs }: Node, sizes: Sizes): number {
  const [first, second] = inputs;
  const result = outputs[0]!;
  switch (op) {
    case "MatMul": {
      const { transA } = attributes as { readonly transA: boolean };
      return 2 * count(result.shape, sizes) * size(first!.shape.at(transA ? -2 : -1)!, sizes);
    }
    case "Linear":
      return 2 * count(first!.shape, sizes) * size(second!.shape[0]!, sizes);
    case "Attend":
      // scores, and what they gather: as wide as a head, both
      return 4 * count(outputs[1]!.shape, sizes) * size(result.shape.at(-1)!, sizes);
    default:
      return 0;
  }
}

function size(dimension: Dimension, sizes: Sizes): number {
  return typeof dimension === "number" ? dimension : sizes[dimension]!;
}

function count(shape: readonly Dimension[], sizes: Sizes): number {
  return shape.reduce<number>((product, dimension) => product * size(dimension, sizes), 1);
}

/** Operations of one step: so many shards, each with its rows of one length, of which so many positions carry loss in all. */
export function stepFlops(
  config: GptjConfig,
  step: { readonly shards: number; readonly rows: number; readonly length: number; readonly positions: number },
): number {
  const graphs = modelPrograms(config);
  const shard = { T: step.rows * step.length, R: step.rows, L: step.length };
  // the slices of the vocabulary add up to the whole
  const head = { N: step.positions, V: config.vocabulary };
  const blocks = programFlops(graphs.blockForward, shard) + programFlops(graphs.blockBackward, shard);
  return step.shards * config.layers * blocks + programFlops(graphs.headForward, head) + programFlops(graphs.headBackward, head);
}
