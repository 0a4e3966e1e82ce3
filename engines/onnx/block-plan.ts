import type { Program, Value } from "../../core/graph/graph.js";
import { isTrained, type ParameterSpec, type Segment, type TrainingProgram } from "../../core/model/family.js";
import { dropInputs } from "../../core/model/lora/dropout.js";

/** What the engine derives from the names in a block's graphs: which values there are, and which its backward pass needs. */

/** An input or output of a segment's graph. */
export interface Port {
  readonly name: string;
  /** a tensor with a row for each token; one that is the same for all of them; or the mask of a row */
  readonly kind: "tokens" | "whole" | "mask";
}

/** A segment, with what its graph takes and gives. */
export interface BoundSegment {
  readonly over: Segment["over"];
  /** the graph's name */
  readonly graph: string;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
}

/** How a block runs. Values are [tokens, width], by name. */
export interface BlockPlan {
  readonly forward: readonly BoundSegment[];
  /** the forward segments that run again where values were not kept */
  readonly again: readonly BoundSegment[];
  readonly backward: readonly BoundSegment[];
  /** widths of the values that the forward pass leaves to the backward pass */
  readonly kept: ReadonlyMap<string, number>;
  /** widths of those that the forward pass alone takes, and of those that the backward pass makes */
  readonly forwardOnly: ReadonlyMap<string, number>;
  readonly backwardOnly: ReadonlyMap<string, number>;
  /** widths of the inputs `drop.<module>`, which say what adapters do not see, in the order of the modules */
  readonly drops: ReadonlyMap<string, number>;
}

/** Derives how a block runs. Throws Error where its graphs don't fit the parameters of a block, which is a mistake in its family. */
export function planBlock({ block, tables }: TrainingProgram, parameters: readonly ParameterSpec[]): BlockPlan {
  checkGradients(
    block.backward.map(({ program }) => program),
    parameters,
  );
  const forward = block.forward.map(bind);
  const backward = block.backward.map(bind);
  const forwardWidths = widthsOf(block.forward, "y");
  const backwardOnly = widthsOf(block.backward, "dx");
  for (const name of [...parameters.map(({ input }) => input), ...Object.keys(tables)])
    if (forwardWidths.has(name) || backwardOnly.has(name))
      throw new Error(`a block's value has one name with a parameter or a table [name=${name}]`);
  const taken = namesOf(backward.flatMap(({ inputs }) => inputs));
  const kept = new Map([...forwardWidths].filter(([name]) => taken.has(name)));
  const forwardOnly = new Map([...forwardWidths].filter(([name]) => !kept.has(name)));

  const wanted = new Set(kept.keys());
  const again = forward.toReversed().filter(({ inputs, outputs }) => {
    if (!outputs.some(({ name }) => wanted.has(name))) return false;
    for (const { name } of inputs) wanted.add(name);
    return true;
  });
  const drops = dropInputs(block.forward);
  return { forward, again: again.reverse(), backward, kept, forwardOnly, backwardOnly, drops };
}

/** Throws Error unless the gradient of each parameter that is trained leaves exactly one of the graphs. */
export function checkGradients(programs: readonly Program[], parameters: readonly ParameterSpec[]): void {
  for (const { input } of parameters.filter(isTrained)) {
    const count = programs.filter(({ outputs }) => outputs.has(`d.${input}`)).length;
    if (count !== 1) throw new Error(`a parameter's gradient must leave exactly one graph [output=d.${input}, graphs=${count}]`);
  }
}

function bind({ over, program }: Segment): BoundSegment {
  const inputs = program.inputs.map((value) => portOf(value.name!, value));
  const outputs = [...program.outputs].map(([name, value]) => portOf(name, value));
  const whole = outputs.find(({ kind }) => kind === "whole");
  // its parts would overwrite each other
  if (over !== "tokens" && whole !== undefined)
    throw new Error(`a graph that does not run over all tokens gives a whole tensor [graph=${program.name}, output=${whole.name}]`);
  return { over, graph: program.name, inputs, outputs };
}

function portOf(name: string, { shape }: Value): Port {
  return { name, kind: name === "causal" ? "mask" : typeof shape[0] === "string" ? "tokens" : "whole" };
}

/** Widths of the values that segments give, but for the one that leaves the block. */
function widthsOf(segments: readonly Segment[], last: string): Map<string, number> {
  const values = segments.flatMap(({ program }) => [...program.outputs].filter(([name, value]) => portOf(name, value).kind === "tokens"));
  return new Map(values.filter(([name]) => name !== last).map(([name, { shape }]) => [name, shape[1] as number]));
}

function namesOf(ports: readonly Port[]): Set<string> {
  return new Set(ports.map(({ name }) => name));
}
