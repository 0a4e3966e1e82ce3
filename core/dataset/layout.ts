import { formatOf } from "../rows/data-format.js";
import { shardedSplit, splitIn } from "./split-name.js";

/**
 * Configurations and splits of a dataset whose card lists none, by the names of its files and folders:
 *
 * - A file's split is named by the last part of its path that speaks of one: `train-00000-of-00002.parquet`,
 *   `train_sft/0000.parquet`, `default/partial-train/0000.parquet`. Numbers of shards and digests are not part of the name.
 *   Folders below it (`train/a/1.json`) do not matter. A shard `sft-00000-of-00002` belongs to a split `sft`.
 * - The folders above that part name the configuration: `de/train/0000.parquet`, `data/de/train-0000.parquet`. Folders that
 *   say nothing of the content do not count: numbers, Hive's partitions (`year=2024`), formats, `data`, splits. Without
 *   any, the configuration is `default`.
 * - `configuration/split/0000.parquet`, as the hub converts datasets, names both, whatever the names are.
 * - Files that speak of no split are rows of one dataset, `train`, if no other file is for training.
 */
export function layoutOf(paths: readonly string[]): Map<string, Map<string, string[]>> {
  const located = paths.every((path) => CONVERTED.test(path)) && paths.some(isConverted) ? paths.map(locateConverted) : paths.map(locate);
  const hasTraining = located.some(({ split }) => split?.isTraining === true);
  const configurations = new Map<string, Map<string, string[]>>();
  const add = (config: string, split: string, path: string): void => {
    const splits = configurations.get(config) ?? new Map<string, string[]>();
    const files = splits.get(split) ?? [];
    files.push(path);
    configurations.set(config, splits.set(split, files));
  };
  for (const { path, config, split } of located) if (split !== null) add(config, split.name, path);
  const named = new Set(configurations.keys());
  if (!hasTraining)
    for (const { path, config, split } of located) if (split === null) add(named.has(config) ? config : DEFAULT, "train", path);
  const inOrder = <Value>(map: ReadonlyMap<string, Value>): [string, Value][] =>
    [...map].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  return new Map(inOrder(configurations).map(([config, splits]) => [config, new Map(inOrder(splits))]));
}

/** Names in the order in which people expect them: these first, in this order. */
const FIRST = ["default", "train", "validation", "test"];
const rank = (name: string): number => (FIRST.indexOf(name) + FIRST.length + 1) % (FIRST.length + 1);

/** Among data files the shards that `datasets` writes and looks for first, `data/train-00000-of-00002.parquet`: other files beside them do not count. All files if there are none to train on. */
export function shardsIn(paths: readonly string[]): readonly string[] {
  const shards = paths.filter((path) => /^data\/[^/]+-\d{5}-of-\d{5}[^/]*$/.test(path));
  return shards.some((path) => splitIn(stemOf(path).slice("data/".length))?.isTraining !== false) ? shards : paths;
}

/** The configuration of files that no folder names. */
export const DEFAULT = "default";

/** The hub's conversion to Parquet has `configuration/split/0000.parquet`, whatever the names are. */
const CONVERTED = /^([^/]+)\/(?:partial-)?([^/]+)\/\d{4}\.parquet$/;

/** Whether a path that looks converted has a name that only conversions and splits have. */
function isConverted(path: string): boolean {
  const [, config, split] = CONVERTED.exec(path)!;
  return config === DEFAULT || (splitIn(split!) !== null && configIn([config!]) === config);
}

function locateConverted(path: string): Located {
  const [, config, split] = CONVERTED.exec(path)!;
  return { path, config: configIn([config!]), split: { name: split!, isTraining: splitIn(split!)?.isTraining ?? true } };
}

interface Located {
  readonly path: string;
  readonly config: string;
  readonly split: { readonly name: string; readonly isTraining: boolean } | null;
}

function locate(path: string): Located {
  const parts = stemOf(path).split("/");
  for (const [index, part] of [...parts.entries()].reverse()) {
    const split = splitIn(part);
    if (split !== null) return { path, config: configIn(parts.slice(0, index)), split };
  }
  const name = shardedSplit(parts.at(-1)!);
  return { path, config: configIn(parts.slice(0, -1)), split: name === null ? null : { name, isTraining: true } };
}

/** Folders that say nothing of the content. */
const NEUTRAL = [
  /^(?:data|datasets?|files|rows)$/i,
  /^(?:parquet|jsonl?|ndjson|csv|tsv|arrow)$/i,
  /^(?:(?:part|shard|chunk|batch|split)[-._ ]*)?[\d][\d\-._ ]*$/i,
  /^[^=]+=/,
];

function configIn(folders: readonly string[]): string {
  const named = folders.filter((part) => splitIn(part) === null && !NEUTRAL.some((pattern) => pattern.test(part)));
  return named.join("/") || DEFAULT;
}

/** A data file's path without the ending of its format and what follows it. */
export function stemOf(path: string): string {
  const format = formatOf(path);
  const at = format === null ? path.lastIndexOf(".") : path.toLowerCase().lastIndexOf(format);
  return at > path.lastIndexOf("/") + 1 ? path.slice(0, at) : path;
}

/** Files that describe a dataset or a package and hold no rows. */
const NO_ROWS = /(^|\/)((dataset_infos|dataset_dict|dataset_info|state|config|package|package-lock)\.json|cache-[^/]*\.arrow)$/;
/** Folders of a table's own records, and of work that did not finish. */
const RECORDS = /(^|\/)(_delta_log|_change_data|_spark_metadata|_temporary)\//;

/** Whether a path is that of a data file that is not hidden, as `datasets` sees it: folders that begin with two underscores are. */
export function isDataFile(path: string): boolean {
  return formatOf(path) !== null && !NO_ROWS.test(path) && !isHidden(path);
}

/** Whether a file is hidden, or lies in a folder of records. */
export function isHidden(path: string): boolean {
  return /(^|\/)\./.test(path) || /(^|\/)__[^/]*\//.test(path) || RECORDS.test(path);
}

/** The first few of many names, for a line of text. */
export function someOf(paths: readonly string[], between = " "): string {
  const more = paths.length > 5 ? ` and ${paths.length - 5} more` : "";
  return `${paths.slice(0, 5).join(between)}${more}`;
}
