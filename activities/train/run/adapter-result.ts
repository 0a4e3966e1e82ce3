import { rm } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../../core/errors.js";
import { elements } from "../../../core/graph/tensor.js";
import { trainedParameters, type Model, type ParameterSpec } from "../../../core/model/family.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapterConfigText } from "../../../core/model/lora/adapter-config.js";
import { writeFileAtomic } from "../../../infra/disk/files.js";
import { AdapterFiles, hasAdapter } from "../../../infra/weights/adapter-files.js";
import type { ModelFiles } from "../../../infra/weights/model-files.js";
import type { WeightPlan } from "../../../core/format/weight-files.js";

/** What training leaves of a model with adapters: PEFT's two files, of which the config names no base, because publishing knows it. */

/** The file of a model's adapters. */
export function planAdapterFile({ parameters }: Model): WeightPlan {
  return { files: [{ name: ADAPTER_WEIGHTS, weights: trainedParameters(parameters) }], index: null };
}

/**
 * Writes the config beside an adapter's weights, and looks whether training has made them: throws UserError where they add
 * nothing to the base, or are those that training began with, and then the directory has none.
 */
export async function finishAdapter(base: ModelFiles, model: Model, target: string, dropout: number): Promise<void> {
  const config = adapterConfigText(model, model.adapters!, { dropout, base: { name: null, revision: null } });
  await writeFileAtomic(join(target, ADAPTER_CONFIG), config);
  const problem = findProblem(base, model, target);
  if (problem === null) return;
  await rm(join(target, ADAPTER_WEIGHTS));
  throw new UserError(
    `training left the adapter ${problem}, so there is nothing to publish: raise train.learningRate or train.epochs, or take rows that carry loss`,
  );
}

function findProblem({ directory, model: base }: ModelFiles, { parameters }: Model, target: string): string | null {
  const made = new AdapterFiles(target, base);
  const before = hasAdapter(directory) ? new AdapterFiles(directory, base) : null;
  const specs = trainedParameters(parameters);
  const valuesIn = (files: AdapterFiles, { name, shape }: ParameterSpec): Float32Array => {
    const values = new Float32Array(elements(shape));
    files.readFloats(name, 0, values);
    return values;
  };
  try {
    // its product with the other matrix is zero, too
    if (specs.every((spec) => spec.initial !== "zero" || valuesIn(made, spec).every((value) => value === 0))) return "zero";
    const isSame = (spec: ParameterSpec, files: AdapterFiles): boolean => {
      const then = valuesIn(files, spec);
      return valuesIn(made, spec).every((value, at) => value === then[at]);
    };
    return before !== null && specs.every((spec) => isSame(spec, before)) ? "as it was before" : null;
  } finally {
    made.close();
    before?.close();
  }
}
