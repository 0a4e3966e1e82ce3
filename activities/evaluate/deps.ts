import type { openTokens } from "../../infra/dataset/tokens.js";
import type { InferenceModel } from "../../engines/inference.js";
import type { Places } from "../download/source-plan.js";
import type { LiveModels } from "./live.js";

/** What evaluation is handed. */
export interface EvaluateDependencies {
  readonly openTokens: typeof openTokens;
  /** where the items of tasks come from */
  readonly places: Places;
  /** A model that computes off the main thread, with the adapter in another directory, or with the one beside it: an engine's `openInference`. */
  openInference(directory: string, signal: AbortSignal, adapter?: string): Promise<InferenceModel>;
  /** where the model is that `latest.json` names */
  readonly live: LiveModels;
}
