import { answers } from "./answers.js";
import { perplexity } from "./perplexity.js";
import { samples } from "./samples.js";
import type { EvaluationTask } from "./task.js";

/** What is measured of a tuned model and its base, in this order. */
export const TASKS: readonly EvaluationTask[] = [perplexity, samples, answers];
