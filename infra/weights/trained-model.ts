import { loraOf, type RunConfig } from "../../core/config/schema.js";
import { allParameters, isMapped, type Model, type ParameterSpec } from "../../core/model/family.js";
import { initialAdapter } from "../../core/model/lora/initial.js";
import { planAdapter, withAdapter } from "../../core/model/lora/adapter.js";
import { checkGoesOn } from "../../core/model/lora/adapter-config.js";
import { AdapterFiles, hasAdapter, readAdapterConfig } from "./adapter-files.js";
import type { ModelFiles, WeightPlace } from "./model-files.js";

/**
 * A base as training sees it: all of its parameters are trained, or it is frozen and has adapters. What can be mapped from the
 * files keeps its type. Throws UserError as `planAdapter`, and where an adapter lies beside the base and others are to be trained.
 */
export function trainedModel(
  files: Pick<ModelFiles, "model" | "placeOf" | "directory">,
  train: Pick<RunConfig["train"], "method" | "lora">,
): Model {
  const lora = loraOf(train);
  if (hasAdapter(files.directory)) checkGoesOn(files.model, readAdapterConfig(files.directory), train);
  if (lora === null) return files.model;
  const typeOf = (name: string) => files.placeOf(name)?.type ?? null;
  return withAdapter(files.model, planAdapter(files.model, lora), { typeOf, dropout: lora.dropout > 0 });
}

/** Where a model's weights lie that training uses there, by name. */
export function mappedWeights(files: ModelFiles, { parameters }: Model): Map<string, WeightPlace> {
  return new Map(allParameters(parameters).flatMap((spec) => (isMapped(spec) ? [[spec.name, files.placeOf(spec.name)!]] : [])));
}

/** The values with which training begins, element by element: the base's, those of the adapter beside it, or a fresh one's. */
export interface InitialWeights {
  /** Elements [first, first + out.length) of a parameter, in row-major order. */
  read(spec: ParameterSpec, first: number, out: Float32Array): void;
  close(): void;
}

/** Opens what training begins with; `seed` draws fresh adapters. */
export function openInitialWeights(files: ModelFiles, seed: number): InitialWeights {
  const adapter = hasAdapter(files.directory) ? new AdapterFiles(files.directory, files.model) : null;
  return {
    read(spec, first, out) {
      if (spec.adapter === undefined) files.readFloats(spec.name, first, out);
      else if (adapter !== null) adapter.readFloats(spec.name, first, out);
      else initialAdapter(spec, seed, first, out);
    },
    close() {
      adapter?.close();
      files.close();
    },
  };
}
