import { UserError } from "../errors.js";
import { FORMATS, formatOf } from "../rows/data-format.js";
import { someOf, stemOf } from "./layout.js";
import { withoutNumbers } from "./split-name.js";

/**
 * A split's files in one format, in their order. The same rows in several formats, or a file beside its compressed copy, are
 * taken once; lines of JSON and other JSON go together. Throws UserError that names two formats of different rows.
 */
export function inOneFormat(paths: readonly string[], where: string): string[] {
  const formats = FORMATS.filter((format) => paths.some((path) => formatOf(path) === format));
  const filesIn = (format: string): string[] => paths.filter((path) => formatOf(path) === format);
  const [first, ...others] = formats;
  // what an Arrow directory's own list names needs no ending
  if (first === undefined) return [...paths];
  const different = others.filter((format) => !areSameRows(filesIn(first), filesIn(format)));
  if (different.length === 0) return withoutCopies(filesIn(first));
  const isJson = formats.every((format) => /^\.(jsonl?|ndjson)$/.test(format));
  const taken = withoutCopies(paths);
  if (isJson && new Set(taken.map(stemOf)).size === taken.length && taken.length === paths.length) return taken;
  throw new UserError(
    "the files of one split are in several formats, and not the same rows in each: choose a configuration or split of one format, name one file, or list the files in the configs of README.md",
    { source: where, [first]: someOf(filesIn(first)), [different[0]!]: someOf(filesIn(different[0]!)) },
  );
}

/** Whether two formats' files hold the same rows, by their names: these are the same, or they are but for the numbers of shards. */
function areSameRows(some: readonly string[], others: readonly string[]): boolean {
  const [names, otherNames] = [namesOf(some), namesOf(others)];
  if (isSame(names, otherNames)) return true;
  const [bare, otherBare] = [names.map(withoutNumbers), otherNames.map(withoutNumbers)];
  // train-0.json and train-1.jsonl are parts of one whole; train.json is the whole, and so are files that say of how many they are
  const isWhole =
    isSame(names, bare) || isSame(otherNames, otherBare) || [...names, ...otherNames].every((name) => /\d-?of-?\d/.test(name));
  return isWhole && isSame(bare, otherBare);
}

const isSame = (some: readonly string[], others: readonly string[]): boolean =>
  [...new Set(some)].toSorted().join("\n") === [...new Set(others)].toSorted().join("\n");

/** Paths without their ending, and without folders that are called after a format. */
function namesOf(paths: readonly string[]): string[] {
  return paths.map((path) => stemOf(path).replace(/(^|\/)(?:(?:parquet|jsonl?|ndjson|csv|tsv|arrow)\/)+/gi, "$1"));
}

/** Paths without those that are another one's compressed copy. */
function withoutCopies(paths: readonly string[]): string[] {
  const shortest = new Map<string, string>();
  for (const path of paths) {
    const name = `${stemOf(path)}${formatOf(path) ?? ""}`;
    const known = shortest.get(name);
    if (known === undefined || path.length < known.length) shortest.set(name, path);
  }
  const kept = new Set(shortest.values());
  return paths.filter((path) => kept.has(path));
}
