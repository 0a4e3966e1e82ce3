import type { Node, Program, Value } from "../core/graph/graph.js";
import type { Dimension } from "../core/graph/tensor.js";
import type { Model } from "../core/model/family.js";
import type { StepPlan } from "../core/training/step-plan.js";

/** Arithmetic counted from shapes: two operations for each multiplication in a matrix product, nothing for the rest. */

/** What a graph's named dimensions are. */
type Sizes = Readonly<Record<string, number>>;

/** Operations of a graph's matrix products where its named dimensions have these sizes. */
export function programFlops(program: Program, sizes: Sizes): number {
  const used = new Set([...program.nodes.flatMap((node) => node.inputs), ...program.outputs.values()]);
  return program.nodes.reduce((sum, node) => sum + nodeFlops(node, used, sizes), 0);
}

function nodeFlops({ op, attributes, inputs, outputs }: Node, used: ReadonlySet<Value>, sizes: Sizes): number {
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
      // scores, and what they gather, where that is wanted: as wide as a head, both
      return (used.has(result) ? 4 : 2) * count(outputs[1]!.shape, sizes) * size(result.shape.at(-1)!, sizes);
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

/** Operations of one step whose blocks keep their activations. */
export function stepFlops({ family, shape, parameters }: Model, plan: StepPlan): number {
  const { block, head } = family.training(shape, parameters);
  const segments = [...block.forward, ...block.backward];
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const batches = plan.microBatches.map(({ shards, positions }) => {
    const blocks = shards.map(({ rows, tokens: T }) =>
      segments.map(({ over, program }) =>
        over === "row" ? sum(rows.map(({ inputIds }) => programFlops(program, { S: inputIds.length }))) : programFlops(program, { T }),
      ),
    );
    // the slices of the vocabulary add up to the whole
    const whole = { N: positions, V: shape.vocabulary };
    const products = [head.forward, head.backward, head.weightBackward].map((program) =>
      program === null ? 0 : programFlops(program, whole),
    );
    return shape.layers * sum(blocks.flat()) + sum(products);
  });
  return sum(batches);
}
