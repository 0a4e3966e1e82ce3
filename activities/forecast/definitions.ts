import type { StageName } from "../../core/stages/results.js";
import type { StageDefinition } from "../common/definition.js";
import { downloadDefinition } from "../download/definition.js";
import { evaluateDefinition } from "../evaluate/definition.js";
import { preprocessDefinition } from "../preprocess/definition.js";
import { publishDefinition } from "../publish/definition.js";
import { trainDefinition } from "../train/definition.js";

/** What decides whether a stage has to run again, for each of them. */
export const DEFINITIONS: { readonly [Name in StageName]: StageDefinition<Name> } = {
  download: downloadDefinition,
  preprocess: preprocessDefinition,
  train: trainDefinition,
  evaluate: evaluateDefinition,
  publish: publishDefinition,
};
