import type { DatasetChoice } from "../config/source-ref.js";
import { UserError } from "../errors.js";
import { DATA_FORMATS, formatOf } from "../rows/data-format.js";
import { unreadableEnding } from "../rows/unread-files.js";
import type { CardConfig } from "./card.js";
import { choose, type Chosen, type Configuration, type Splits } from "./choose.js";
import { matchFiles } from "./glob.js";
import { DEFAULT, isDataFile, isHidden, layoutOf, shardsIn, someOf, stemOf } from "./layout.js";
import { splitIn } from "./split-name.js";
import { savedFolders, type SavedSplit } from "./saved.js";

/** What is known of a dataset before its rows are read. */
export interface DatasetFiles {
  /** paths with slashes */
  readonly paths: readonly string[];
  /** configurations of its card; empty: the layout tells */
  readonly card: readonly CardConfig[];
  /** splits that save_to_disk wrote */
  readonly saved: readonly SavedSplit[];
  /** names the source in messages */
  readonly where: string;
}

/** No choice: the default configuration, and the split to train on. */
export const NO_CHOICE: DatasetChoice = { config: null, split: null };

/**
 * The files of one split of one configuration, in order. The card decides which there are, as for `datasets`; without a
 * card, the layout. Throws UserError that names what there is to choose from.
 */
export function selectFiles(files: DatasetFiles, choice: DatasetChoice): Chosen {
  const { configurations, left } =
    files.card.length > 0 ? { configurations: files.card.map((config) => ofCard(config, files)), left: 0 } : ofLayout(files);
  const { paths, words } = choose(configurations, choice, files.where);
  const once = [...new Set(paths)];
  const present = new Set(files.paths);
  const missing = once.find((path) => !present.has(path));
  if (missing !== undefined)
    throw new UserError("a file that the state.json of a saved dataset names is missing", { source: files.where, missing });
  const said = [
    ...(words === null ? [] : [words]),
    ...(once.length < paths.length ? ["files that two patterns match are taken once"] : []),
    ...unreadBeside(once, files),
    ...(left > 0 ? [`data files beside the shards in data/ left out: ${left}`] : []),
  ];
  return { paths: once, words: said.length === 0 ? null : said.join(", ") };
}

/** Words for files beside the chosen ones that may hold more of their rows and are not read, by their names: `part-2.jsonl.xz` beside `part-1.jsonl`. */
function unreadBeside(chosen: readonly string[], { paths, card }: DatasetFiles): string[] {
  const folders = new Set(chosen.map(folderOf));
  const known = new Set(paths.filter((path) => formatOf(path) !== null).map(stemOf));
  const unread = paths.filter(
    (path) =>
      unreadableEnding(path) !== null &&
      !isHidden(path) &&
      (card.length === 0 || folders.has(folderOf(path))) &&
      // a copy of a file that is read, and rows to test on
      !known.has(stemOf(path)) &&
      splitIn(stemOf(path).slice(folderOf(path).length))?.isTraining !== false,
  );
  return unread.length === 0
    ? []
    : [
        `NOT READ: ${someOf(
          unread.map((path) => unreadableEnding(path)!),
          "; ",
        )}`,
      ];
}

/** A file that its source names alone: it is the split `train`, whatever its name says. Throws UserError for another choice. */
export function selectOneFile(path: string, choice: DatasetChoice, where: string): Chosen {
  return choose([{ name: DEFAULT, isDefault: true, splits: () => new Map([["train", () => [path]]]) }], choice, where);
}

function ofCard({ name, isDefault, directory, splits }: CardConfig, files: DatasetFiles): Configuration {
  const prefix = directory === "" ? "" : `${directory}/`;
  const inside = files.paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
  const found = (patterns: readonly string[]): string[] =>
    patterns.flatMap((pattern) => matching(pattern, inside, files.where)).map((path) => `${prefix}${path}`);
  const where = `${files.where} (configuration ${name}${directory === "" ? "" : `, below ${directory}`})`;
  return {
    name,
    isDefault,
    splits: () =>
      splits === null ? ofFolder(inside, prefix, where) : new Map([...splits].map(([split, patterns]) => [split, () => found(patterns)])),
  };
}

/** The splits that the layout of a configuration's folder tells of. */
function ofFolder(inside: readonly string[], prefix: string, where: string): Splits {
  const found = layoutOf(shardsIn(dataFiles(inside, where)));
  const splits = found.get(DEFAULT) ?? [...found.values()][0]!;
  if (found.size > 1 && !found.has(DEFAULT))
    throw new UserError("a configuration of the dataset's card is a folder with several: list its files as data_files", {
      source: where,
      configurations: someOf([...found.keys()]),
    });
  return new Map([...splits].map(([split, paths]) => [split, () => paths.toSorted().map((path) => `${prefix}${path}`)]));
}

/** Files that `datasets` passes over, unless a pattern ends in their name. */
const PASSED_OVER = ["README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip", "dataset_dict.json"];

function matching(pattern: string, paths: readonly string[], where: string): string[] {
  const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
  const matched = matchFiles(pattern, paths, where).filter(
    (path) => !PASSED_OVER.includes(nameOf(path)) || nameOf(path) === nameOf(pattern),
  );
  const data = matched.filter((path) => formatOf(path) !== null);
  if (data.length > 0) return data;
  throw new UserError(`a pattern of the dataset's card matches no ${matched.length === 0 ? "file" : "data file"}`, {
    source: where,
    pattern,
    expected: matched.length === 0 ? undefined : DATA_FORMATS,
    got: someOf(matched.length === 0 ? paths.filter(isDataFile) : matched),
  });
}

/** `left`: how many data files do not count, because shards in data/ do. */
function ofLayout({ paths, saved, where }: DatasetFiles): { readonly configurations: readonly Configuration[]; readonly left: number } {
  // a folder that was saved and is not a split any more is left over
  const inSaved = new Set([...saved.flatMap((split) => split.paths.map(folderOf)), ...savedFolders(paths)]);
  const others = paths.filter((path) => isDataFile(path) && !inSaved.has(folderOf(path)));
  const data = saved.length > 0 ? others : dataFiles(paths, where);
  const counted = shardsIn(data);
  const found = layoutOf(counted);
  for (const { config, split, paths: files } of saved) {
    const splits = found.get(config) ?? new Map<string, string[]>();
    found.set(config, splits.set(split, [...(splits.get(split) ?? []), ...files]));
  }
  const isSaved = new Set(saved.flatMap((split) => split.paths));
  const inOrder = (files: readonly string[]): readonly string[] => (files.some((path) => isSaved.has(path)) ? files : files.toSorted());
  const configurations = [...found].map(([name, splits]) => ({
    name,
    isDefault: name === DEFAULT,
    splits: () => new Map([...splits].map(([split, files]) => [split, () => inOrder(files)])),
  }));
  return { configurations, left: data.length - counted.length };
}

const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));

function dataFiles(paths: readonly string[], where: string): string[] {
  const data = paths.filter(isDataFile);
  if (data.length > 0) return data;
  const unread = paths.flatMap((path) => unreadableEnding(path) ?? []);
  throw new UserError("a dataset needs a data file", {
    source: where,
    expected: DATA_FORMATS,
    got: paths.length === 0 ? "no files" : unread.length > 0 ? unread.slice(0, 5).join("; ") : someOf(paths),
  });
}
