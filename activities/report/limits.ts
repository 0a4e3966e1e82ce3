import { count } from "../../core/units.js";
import { knownDataset, knownModel } from "./provenance.js";
import { longestRow, type Story } from "./story.js";

/** What Databricks found Dolly to be bad at (model card of dolly-v1-6b), in our words. */
const DOLLYS: readonly string[] = [
  "requests whose sentences are nested or long",
  "programming",
  "mathematics",
  "facts: it states wrong ones, and invents some",
  "dates and times",
  "questions without one right answer",
  "lists with a given number of entries",
  "writing in the manner of somebody",
  "humour",
];

/** What the model is not good for, as text of a card. */
export function limits(story: Story): string {
  const { config, parameters, descent } = story;
  const base = knownModel(descent.baseModel);
  // Dolly's own two: a model that was trained on the Pile, tuned on short instructions
  const isAlike = /the Pile/.test(base?.origin ?? "") && knownDataset(config.dataset.source) !== null;
  const whose = isAlike
    ? "Dolly was made in this way, of a model that was trained on the Pile and of such rows. Databricks found it to be weak at what follows, so expect the same here. This run did not measure it:"
    : "Models of this kind share many weaknesses with Dolly, of which Databricks listed these. This run did not measure them:";
  return `The model has ${count(parameters)} parameters and was tuned on short instructions: it states falsehoods fluently, repeats
the biases of its data, follows instructions that it should refuse, and knows nothing newer than its base model. Rows
were cut at ${count(longestRow(story), "token")}. Perplexity measures how well held-out answers are predicted, not whether an answer is right.

${whose}

${DOLLYS.map((limit) => `- ${limit}`).join("\n")}`;
}
