import type { DatasetChoice } from "../config/source-ref.js";
import { UserError } from "../errors.js";
import { DEFAULT, someOf } from "./layout.js";
import { splitIn, standardName } from "./split-name.js";

/** A configuration's splits by name, each with the files that it has, which may be looked for only when it is chosen. */
export type Splits = ReadonlyMap<string, () => readonly string[]>;

/** What can be chosen from: a configuration's splits by its name. */
export interface Configuration {
  readonly name: string;
  readonly isDefault: boolean;
  splits(): Splits;
}

/** Files that were chosen. */
export interface Chosen {
  readonly paths: readonly string[];
  /** what was chosen, and from what, for people; null: there was no choice */
  readonly words: string | null;
}

const HOW = "?config=NAME&split=NAME at the end of the source, or dataset.config and dataset.split";

/** Chooses configuration and split. Throws UserError with the names to choose from if the choice is wrong, or is needed and missing. */
export function choose(configurations: readonly Configuration[], choice: DatasetChoice, where: string): Chosen {
  const configuration = chooseConfiguration(configurations, choice.config, where);
  const splits = configuration.splits();
  const split = chooseSplit(splits, choice.split, { source: where, configuration: configuration.name });
  const words = [
    ...choiceWords(
      "configuration",
      configuration.name,
      configurations.map(({ name }) => name),
      choice.config,
    ),
    ...choiceWords("split", split, [...splits.keys()], choice.split),
  ];
  return { paths: splits.get(split)!(), words: words.length === 0 ? null : words.join(", ") };
}

function choiceWords(what: string, taken: string, names: readonly string[], chosen: string | null): string[] {
  if (names.length < 2) return chosen === null ? [] : [`${what} ${taken}`];
  return [`${what} ${taken} of ${listed(names)}`];
}

function chooseConfiguration(configurations: readonly Configuration[], wanted: string | null, where: string): Configuration {
  const names = configurations.map(({ name }) => name);
  const details = { source: where, configurations: listed(names) };
  if (wanted !== null) {
    const found = configurations.find(({ name }) => name === wanted);
    if (found === undefined) throw new UserError("the dataset has no such configuration", { ...details, got: wanted });
    return found;
  }
  const taken = configurations.length === 1 ? configurations[0] : configurations.find(({ isDefault }) => isDefault);
  if (taken === undefined)
    throw new UserError("the dataset has several configurations, and none is the default: choose one", { ...details, how: HOW });
  return taken;
}

/** The split that is trained on: `train`, else the only one that speaks of training, else the only one that does not speak of tests. */
function chooseSplit(splits: Splits, wanted: string | null, of: { readonly source: string; readonly configuration: string }): string {
  const names = [...splits.keys()];
  const details = { ...of, configuration: of.configuration === DEFAULT ? undefined : of.configuration, splits: listed(names) };
  if (wanted !== null) {
    const found = names.find((name) => name === wanted) ?? names.find((name) => name === standardName(wanted)) ?? onlyOneFor(names, wanted);
    if (found === undefined) throw new UserError("the dataset has no such split", { ...details, got: wanted });
    return found;
  }
  if (names.includes("train")) return "train";
  const forTraining = names.filter((name) => splitIn(name)?.isTraining === true);
  const candidates = forTraining.length > 0 ? forTraining : names.filter((name) => splitIn(name) === null);
  if (candidates.length === 1) return candidates[0]!;
  if (candidates.length === 0)
    throw new UserError("a dataset has no rows to train on, because all its files are for tests: choose the split to train on", {
      ...details,
      how: HOW,
      got: someOf([...splits.values()].flatMap((files) => files())),
    });
  throw new UserError("the dataset has several splits to train on, and none is called train: choose one", { ...details, how: HOW });
}

/** The only split whose name speaks of the wanted one, as `alpaca_test` does of `test`. */
function onlyOneFor(names: readonly string[], wanted: string): string | undefined {
  const found = names.filter((name) => name.split(/[^A-Za-z]+/).some((word) => standardName(word) === standardName(wanted)));
  return found.length === 1 ? found[0] : undefined;
}

const MOST_NAMES = 40;

function listed(names: readonly string[]): string {
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : "";
  return `${names.slice(0, MOST_NAMES).join(", ")}${more}`;
}
