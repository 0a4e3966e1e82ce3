import { elements } from "../../core/graph/tensor.js";
import { trainedParameters, type Model } from "../../core/model/family.js";
import type { ModelFiles } from "../../infra/weights/model-files.js";
import { writeSafetensors } from "../../infra/weights/safetensors-writer.js";
import { openInitialWeights } from "../../infra/weights/trained-model.js";

/** Writes the values with which a model's adapters begin, fp32 by PEFT's names; `seed` draws fresh ones. Closes `files`. */
export async function writeInitialAdapter(path: string, { parameters }: Model, files: ModelFiles, seed: number): Promise<void> {
  const specs = new Map(trainedParameters(parameters).map((spec) => [spec.name, spec]));
  const initial = openInitialWeights(files, seed);
  try {
    const tensors = [...specs.values()].map(({ name, shape }) => ({ name, shape, dtype: "F32" as const }));
    await writeSafetensors(path, tensors, (name) => {
      const spec = specs.get(name)!;
      const values = new Float32Array(elements(spec.shape));
      initial.read(spec, 0, values);
      return [new Uint8Array(values.buffer)];
    });
  } finally {
    initial.close();
  }
}
