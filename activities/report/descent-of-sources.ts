import { knownDataset, knownModel, licenceOf, UNKNOWN } from "./provenance.js";
import { hubId, type Descent } from "./story.js";

/** What the sources of a base and of rows say; `inherited`: what a base hands on that Roslin published, or null. */
export function descentOfSources(model: string, dataset: string, inherited: Descent | null): Descent {
  const base = hubId(model);
  return {
    licence: licenceOf(inherited?.licence ?? knownModel(base)?.licence ?? UNKNOWN, knownDataset(dataset)?.licence ?? UNKNOWN),
    baseModel: base ?? inherited?.baseModel ?? null,
  };
}
