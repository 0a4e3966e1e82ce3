import type { RunConfig } from "../config/schema.js";
import type { JsonEnds } from "./figures.js";
import type { Ledger } from "./ledger.js";
import type { Override } from "./override.js";

/** The figures of each stage, and the form in which they travel. */

/** What downloading came to. */
export interface DownloadMetrics {
  readonly seconds: number;
  readonly bytes: number;
  /** over the wire */
  readonly bytesFetched: number;
  /** names of a dataset's files, when it has several */
  readonly datasetFiles?: string;
  /** configuration and split, and what else there is, when there was a choice */
  readonly datasetChoice?: string;
  /** where each source came from, unless it was used where it lies */
  readonly modelFrom?: string;
  readonly datasetFrom?: string;
}

/** What the rows came to. */
export interface TokenStats {
  /** of the source */
  readonly rows: number;
  readonly trainRows: number;
  readonly testRows: number;
  readonly dropped: number;
  readonly rejected: number;
  readonly truncated: number;
  /** rows of which no token carries loss: they are left out */
  readonly withoutLoss: number;
  /** rows with the tokens of an earlier one */
  readonly duplicates: number;
  readonly tokens: number;
  /** share of the tokens that carry loss */
  readonly lossShare: number;
  /** rows by length: the key is the longest of its bin, in tokens */
  readonly lengths: Readonly<Record<string, number>>;
}

/** The source's columns that have content; of messages' further keys those too, such as `messages[].time`. */
export interface ColumnStats {
  /** names of those that are trained on */
  readonly usedColumns: string;
  /** names of the others; absent when there are none */
  readonly unusedColumns?: string;
}

/** What preprocessing came to. */
export interface PreprocessMetrics extends TokenStats, ColumnStats {
  readonly seconds: number;
  readonly rowsPerSecond: number;
  /** tokens at which rows were cut */
  readonly cutAt: number;
  /** how token ids differ from those of the model's tokenizer.json; absent if they don't */
  readonly tokenizerNote?: string;
}

/** How steps were computed: the settings engine, engineVersion and precision, and others that change bits but not the job. */
export type Computing = Readonly<Record<string, string>>;

/** Steps in a row that were computed in the same way. */
export interface ComputedSteps {
  readonly steps: number;
  readonly by: Computing;
}

/** The loss on the test rows after so many steps. */
export interface Evaluated {
  readonly step: number;
  readonly loss: number | null;
}

/** What training came to: figures of the whole run, those before a resume too. Rates are medians over the steps but the first. */
export interface TrainMetrics {
  readonly seconds: number;
  /** share of the time that counted */
  readonly goodput: number;
  /** faults survived, and what was compared, in one line */
  readonly proof: string;
  readonly steps: number;
  /** one for each step; null for a step without labels, which has no loss and updates nothing */
  readonly losses: readonly (number | null)[];
  /** before clipping, one for each step; null for a step without labels */
  readonly gradientNorms: readonly (number | null)[];
  /** the loss on the test rows, where it was measured, by the steps done before it; null: it was not finite; absent: never measured */
  readonly evaluations?: readonly Evaluated[];
  /** tokens a second, one for each step */
  readonly rates?: readonly number[];
  readonly tokensPerSecond: number;
  readonly rowsPerSecond: number;
  readonly lossTokensPerSecond: number;
  /** what part of the first rank's time went where */
  readonly timeShares: Readonly<Record<string, number>>;
  /** tokens trained on */
  readonly tokens: number;
  /** steps done before the last attempt */
  readonly resumedAtStep: number;
  readonly attempts: number;
  /** of the machine of the last checkpoint */
  readonly fingerprint: Readonly<Record<string, string | number>>;
  /** false: parts of the run ran on different kinds of machine, so equal bytes are not promised */
  readonly oneKindOfMachine: boolean;
  /** which steps were computed how, first to last; absent when all were computed in the same way */
  readonly computed?: readonly ComputedSteps[];
  readonly ledger: Ledger;
}

/** exp of the mean loss of either model; null when there was nothing to score. */
export interface Perplexity {
  readonly base: number | null;
  readonly tuned: number | null;
}

/** Whether the tuned model may become the latest one, as far as one evaluation task can tell. */
export interface Verdict {
  /** false: there was nothing to judge by, and `passed` is true */
  readonly judged: boolean;
  readonly passed: boolean;
}

/** Whether the tuned model predicts well enough, compared with the base. */
export interface PerplexityVerdict extends Verdict {
  /** the tuned model's perplexity divided by the base's; null when there was nothing to compare */
  readonly ratio: number | null;
  readonly maxPerplexityRatio: number;
}

/** A rule of the gate as the configuration states it: the tuned model's figure divided by the other's is within bounds. */
export type Rule = RunConfig["evaluate"]["gate"]["rules"][number];

/** What became of a rule. */
export interface RuleVerdict extends Rule, Verdict {
  /** that the figure was measured on; 0: none, and the rule is not passed */
  readonly items: number;
  /** the tuned model's figure divided by the other's; null: it is not finite, or there is nothing to divide */
  readonly ratio: number | null;
  /** of the quotient; null: there are fewer than two items */
  readonly interval: JsonEnds | null;
}

/** Whether the tuned model may become the latest one: judged if any task or rule judged, passed if all pass. */
export interface Gate extends PerplexityVerdict {
  /** verdicts of the further tasks, by name; absent when there are none */
  readonly tasks?: Readonly<Record<string, Verdict>>;
  /** why it was not passed, in a few words; absent if it was */
  readonly reason?: string;
  /** of the configuration's rules, in order; absent when there are none */
  readonly rules?: readonly RuleVerdict[];
}

/** What evaluation came to. */
export interface EvaluateMetrics {
  readonly seconds: number;
  readonly perplexity: Perplexity;
  readonly gate: Gate;
  /** how many answers there are to read */
  readonly samples: number;
  readonly heldOut: { readonly rows: number; readonly labels: number };
}

/** What publishing came to. */
export interface PublishMetrics {
  readonly seconds: number;
  readonly target: string;
  /** name of the published model */
  readonly version: string;
  /** whether latest.json names it */
  readonly latest: boolean;
  /** why latest.json does not name it; null if it does */
  readonly reason: string | null;
  readonly gate: Gate;
  /** who decided that a gate that was not passed does not count, and why */
  readonly override?: Override;
  readonly objects: number;
  readonly bytes: number;
  /** over the wire */
  readonly bytesSent: number;
  /** the server does not check the SHA-256 of what is sent: all of it was read back and compared */
  readonly readBack?: true;
}

/** The figures of each stage. */
export interface StageMetrics {
  readonly download: DownloadMetrics;
  readonly preprocess: PreprocessMetrics;
  readonly train: TrainMetrics;
  readonly evaluate: EvaluateMetrics;
  readonly publish: PublishMetrics;
}

/** Figures as a stage recorded them: an earlier version may have recorded fewer. */
export type Recorded<Metrics extends { readonly seconds: number }> = Pick<Metrics, "seconds"> & Partial<Metrics>;

/** A number that came through Temporal: JSON has no infinity and no NaN, so these come as text. */
export type Figure = number | string;

/** What remains of a long list of numbers: the ends are of those entries that are numbers, null when none is. */
export interface ListEnds {
  /** of all entries */
  readonly count: number;
  readonly first: Figure | null;
  readonly last: Figure | null;
  readonly min: Figure | null;
  readonly max: Figure | null;
}

/** A value as it travels through Temporal: long lists of numbers are their ends, other long lists and texts are cut. */
export type Trimmed<Value> = Value extends number
  ? Figure
  : Value extends readonly (number | null)[]
    ? readonly (Figure | null)[] | ListEnds
    : Value extends readonly (infer Item)[]
      ? readonly Trimmed<Item>[]
      : Value extends object
        ? { readonly [Name in keyof Value]: Trimmed<Value[Name]> }
        : Value;
