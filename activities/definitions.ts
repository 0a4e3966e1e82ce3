import type { StageName } from "../core/stage.js";
import { downloadDefinition } from "./download/index.js";
import { evaluateDefinition } from "./evaluate/index.js";
import { preprocessDefinition } from "./preprocess/index.js";
import { publishDefinition } from "./publish/index.js";
import type { StageDefinition } from "./stage.js";
import { trainDefinition } from "./train/index.js";

/** What decides whether a stage has to run again, for each of them. */
export const DEFINITIONS: Readonly<Record<StageName, StageDefinition>> = {
  download: downloadDefinition,
  preprocess: preprocessDefinition,
  train: trainDefinition,
  evaluate: evaluateDefinition,
  publish: publishDefinition,
};
