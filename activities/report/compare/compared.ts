import type { Manifest } from "../../../core/format/manifest.js";
import type { Figure } from "../../../core/stages/figures.js";
import type { Evaluation } from "../../evaluate/evaluation.js";
import { settingLeaves, settingsOf } from "../page/settings.js";
import type { Curves, ReportStory } from "../story.js";

/** One of the runs that are compared. */
export interface ComparedRun {
  readonly name: string;
  /** how it stands; absent: it is finished */
  readonly unfinished?: string | undefined;
  /** by their dotted names, as JSON */
  readonly settings: Readonly<Record<string, string>>;
  /** whether it says only those settings that its bytes depend on */
  readonly partial?: true;
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
}

/** A run on this machine, for a comparison. */
export function comparedStory(name: string, { config, evaluation, losses, curves, unfinished }: ReportStory): ComparedRun {
  return {
    name,
    ...(unfinished !== undefined && { unfinished }),
    settings: Object.fromEntries(settingsOf(config).map((setting) => [setting.name, setting.value])),
    figures: evaluation?.figures ?? [],
    losses,
    evaluations: curves?.evaluations ?? [],
  };
}

/** What stages record that is no setting of theirs: it is of code, or of another section. */
const NOT_OWN: readonly string[] = ["engineVersion", "versions", "format", "columns", "evaluate.prompt"];

/** A published model, for a comparison: the settings that its manifest has, without curves. */
export function comparedModel({ name, chain }: Manifest, { figures = [] }: Evaluation): ComparedRun {
  const settings = chain.flatMap(({ stage, settings: own }): [string, unknown][] => {
    const { model, dataset, ...others } = own as Readonly<Record<string, unknown>>;
    if (stage === "download")
      return [
        ["model.source", model],
        ["dataset.source", dataset],
      ];
    const kept = Object.entries(others).filter(([field]) => ![field, `${stage}.${field}`].some((each) => NOT_OWN.includes(each)));
    return stage === "publish" ? [] : settingLeaves(Object.fromEntries(kept), stage);
  });
  return {
    name,
    settings: Object.fromEntries(settings.map(([key, value]) => [key, JSON.stringify(value)])),
    partial: true,
    figures,
    losses: [],
    evaluations: [],
  };
}

/** What is not the same in all runs; scores in the order of the runs' evaluations. */
export function compareRuns(runs: readonly ComparedRun[]): Comparison {
  const names = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
  const metrics = [...new Map(runs.flatMap(({ figures }) => figures.map((figure) => [figure.metric, figure] as const))).values()];
  return {
    runs: runs.map(({ name, unfinished }) => ({ name, ...(unfinished !== undefined && { unfinished }) })),
    settings: names
      .map((setting) => ({ setting, values: runs.map(({ settings }) => settings[setting] ?? null) }))
      // what a published model does not say may be the same
      .filter(({ values }) => new Set(values.filter((value, run) => value !== null || runs[run]!.partial !== true)).size > 1),
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
