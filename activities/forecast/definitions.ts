import type { StageName } from "../../core/stages/stage.js";
import { downloadDefinition } from "../download/download.js";
import { evaluateDefinition } from "../evaluate/evaluate.js";
import { preprocessDefinition } from "../preprocess/preprocess.js";
import { publishDefinition } from "../publish/publish.js";
import type { StageDefinition } from "../common/stage.js";
import { trainDefinition } from "../train/run/begin.js";

/** What decides whether a stage has to run again, for each of them. */
export const DEFINITIONS: Readonly<Record<StageName, StageDefinition>> = {
  download: downloadDefinition,
  preprocess: preprocessDefinition,
  train: trainDefinition,
  evaluate: evaluateDefinition,
  publish: publishDefinition,
};
