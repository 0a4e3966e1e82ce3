import { chosenSource } from "../../../core/config/source-ref.js";
import { loraOf, type RunConfig } from "../../../core/config/schema.js";
import type { ChainEntry } from "../../../core/format/manifest.js";
import { comparesWithLive } from "../../../core/stages/gate.js";
import { sourceIdentity } from "../../download/definition.js";
import { publicLive } from "../../evaluate/evaluation.js";
import { settingLeaves, settingsOf } from "../page/settings.js";

/** A setting of a run that is compared. */
export interface ComparedSetting {
  /** as JSON, without directories of a machine */
  readonly shown: string;
  /** what is equal exactly if the settings are: a place on a machine by its digest, as manifests name it */
  readonly identity: string;
}

/** Settings by their dotted names. */
export type ComparedSettings = Readonly<Record<string, ComparedSetting>>;

/** The settings of a run on this machine, in the form in which a manifest has them. */
export function settingsOfRun(config: RunConfig): ComparedSettings {
  const { dataset, train, evaluate } = config;
  const { config: _config, split: _split, ...others } = dataset;
  const comparable = {
    ...config,
    // what is chosen of a dataset stands at the end of its source
    dataset: { ...others, source: chosenSource(dataset) } as RunConfig["dataset"],
    train: { ...train, lora: loraOf(train) },
    evaluate: { ...evaluate, live: comparesWithLive(evaluate) && evaluate.live !== null ? publicLive(evaluate.live) : null },
  };
  const exact = new Map(settingLeaves(comparable));
  return Object.fromEntries(
    settingsOf(comparable).map(({ name, value }) => [
      name,
      { shown: value, identity: name === "publish.target" ? value : JSON.stringify(identified(exact.get(name))) },
    ]),
  );
}

/** What stages record that is no setting of theirs: it is of code, or of another section. */
const NOT_OWN: readonly string[] = ["engineVersion", "versions", "format", "columns", "evaluate.prompt"];

/** The settings that a published model's manifest has: those that its bytes depend on. */
export function settingsOfModel(chain: readonly ChainEntry[]): ComparedSettings {
  const settings = chain.flatMap(({ stage, settings: own }): [string, unknown][] => {
    const { model, dataset, ...others } = own as Readonly<Record<string, unknown>>;
    if (stage === "download")
      return [
        ["model.source", model],
        ["dataset.source", dataset],
      ];
    if (stage === "publish") return [];
    const kept = Object.entries(others).filter(([field]) => ![field, `${stage}.${field}`].some((each) => NOT_OWN.includes(each)));
    // the usual precision is left out
    return settingLeaves({ ...(stage === "train" && { precision: "fp32" }), ...Object.fromEntries(kept) }, stage);
  });
  return Object.fromEntries(settings.map(([name, value]) => [name, { shown: JSON.stringify(value), identity: JSON.stringify(value) }]));
}

/** A setting's values as they are shown: those that differ just by their directories with a part of their digests. */
export function shownApart(values: readonly (ComparedSetting | null)[]): (string | null)[] {
  return values.map((value) => {
    const isAmbiguous = values.some((other) => other !== null && other.shown === value?.shown && other.identity !== value.identity);
    const digest = /sha256-([0-9a-f]{8})/.exec(value?.identity ?? "")?.[1];
    return value === null ? null : isAmbiguous && digest !== undefined ? `${value.shown} (its path's digest: ${digest}…)` : value.shown;
  });
}

/** A setting with every place on a machine as the published chain of digests names it. */
function identified(value: unknown): unknown {
  if (typeof value === "string") return /^(file:)?\//.test(value) ? sourceIdentity(value.replace(/^\//, "file:///")) : value;
  if (Array.isArray(value)) return value.map(identified);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, identified(each)]));
}
