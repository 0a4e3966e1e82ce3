import type { Manifest } from "../../../core/format/manifest.js";
import type { Figure } from "../../../core/stages/figures.js";
import type { Evaluation } from "../../evaluate/evaluation.js";
import type { Curves, ReportStory } from "../story.js";
import { settingsOfModel, settingsOfRun, shownApart, type ComparedSettings } from "./compared-settings.js";

/** One of the runs that are compared. */
export interface ComparedRun {
  readonly name: string;
  /** how it stands; absent: it is finished */
  readonly unfinished?: string | undefined;
  readonly settings: ComparedSettings;
  /** whether it says only those settings that its bytes depend on */
  readonly partial?: true;
  /** SHA-256 of its rows as tokens, those that are held out among them; null: it has none yet */
  readonly tokens: string | null;
  readonly figures: readonly Figure[];
  /** one a step; none of a published model */
  readonly losses: readonly (number | null)[];
  readonly evaluations: NonNullable<Curves["evaluations"]>;
}

/** A setting that is not the same in all runs; null: a run does not say it. */
export interface Difference {
  readonly setting: string;
  readonly values: readonly (string | null)[];
}

/** A figure of the tuned models; null: a run has none. */
export interface Score {
  readonly metric: string;
  readonly better: Figure["better"];
  readonly values: readonly ((Pick<Figure, "tuned" | "items"> & { readonly interval?: readonly [number | null, number | null] }) | null)[];
}

/** What differs between runs: settings, and the scores of their models. */
export interface Comparison {
  readonly runs: readonly Pick<ComparedRun, "name" | "unfinished">[];
  readonly settings: readonly Difference[];
  readonly scores: readonly Score[];
  /** what to know before scores are compared */
  readonly notes: readonly string[];
}

/** A run on this machine, for a comparison. */
export function comparedStory(name: string, { config, evaluation, losses, curves, digests, unfinished }: ReportStory): ComparedRun {
  return {
    name,
    ...(unfinished !== undefined && { unfinished }),
    settings: settingsOfRun(config),
    tokens: digests["tokens"] ?? null,
    figures: evaluation?.figures ?? [],
    losses,
    evaluations: curves?.evaluations ?? [],
  };
}

/** A published model, for a comparison: the settings that its manifest has, without curves. */
export function comparedModel({ name, chain }: Manifest, { figures = [] }: Evaluation): ComparedRun {
  const tokens = chain.find(({ stage }) => stage === "preprocess")?.outputs.find((output) => output.name === "tokens");
  return {
    name,
    settings: settingsOfModel(chain),
    partial: true,
    tokens: tokens?.sha256 ?? null,
    figures,
    losses: [],
    evaluations: [],
  };
}

/** What is said of scores that are not of the same rows. */
const OTHER_ROWS =
  "The rows of these runs differ as tokens: perplexity, exact match and ROUGE-L are of other held-out rows, or of rows that were written or cut differently, and are not comparable.";

/** What is not the same in all runs; scores in the order of the runs' evaluations. */
export function compareRuns(runs: readonly ComparedRun[]): Comparison {
  const names = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
  const scored = runs.filter(({ figures, tokens }) => figures.length > 0 && tokens !== null);
  const metrics = [...new Map(runs.flatMap(({ figures }) => figures.map((figure) => [figure.metric, figure] as const))).values()];
  return {
    runs: runs.map(({ name, unfinished }) => ({ name, ...(unfinished !== undefined && { unfinished }) })),
    settings: names
      .map((setting) => ({ setting, values: runs.map(({ settings }) => settings[setting] ?? null) }))
      // what a published model does not say may be the same
      .filter(({ values }) => {
        const said = values.filter((value, run) => value !== null || runs[run]!.partial !== true);
        return new Set(said.map((value) => value?.identity)).size > 1;
      })
      .map(({ setting, values }) => ({ setting, values: shownApart(values) })),
    notes: new Set(scored.map(({ tokens }) => tokens)).size > 1 ? [OTHER_ROWS] : [],
    scores: metrics.map(({ metric, better }) => ({
      metric,
      better,
      values: runs.map(({ figures }) => {
        const found = figures.find((figure) => figure.metric === metric);
        if (found === undefined) return null;
        const { tuned, items, intervals } = found;
        return { tuned, items, ...(intervals !== undefined && { interval: intervals.tuned }) };
      }),
    })),
  };
}
