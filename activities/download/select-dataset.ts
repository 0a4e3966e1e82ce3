import { parseCardConfigs, type CardConfig } from "../../core/dataset/card.js";
import type { Chosen } from "../../core/dataset/choose.js";
import { deltaCommits, deltaFiles } from "../../core/dataset/delta.js";
import { inOneFormat } from "../../core/dataset/one-format.js";
import { savedFolders, savedRecords, savedSplits, type Texts } from "../../core/dataset/saved.js";
import { selectFiles } from "../../core/dataset/select.js";
import { isInTable, tableError, tablesAmong } from "../../core/dataset/tables.js";
import type { DatasetChoice } from "../../core/config/source-ref.js";
import { UserError } from "../../core/errors.js";
import { readFrontMatter, readYaml } from "../../infra/text/front-matter.js";

/** A dataset's files, wherever they are. */
export interface DatasetPlace {
  /** paths with slashes */
  readonly paths: readonly string[];
  /** names the source in messages */
  readonly where: string;
  /** Text of a small file. */
  readText(path: string): Promise<string>;
}

/** The files to train on, in one format, after what the dataset's own records say of them: its card, save_to_disk's lists, a table's log. Throws UserError. */
export async function selectDataset(place: DatasetPlace, choice: DatasetChoice): Promise<Chosen> {
  const { paths, where } = place;
  const folders = savedFolders(paths);
  const records = await textsOf(place, savedRecords(folders, paths));
  const files = { paths, where, card: await cardOf(place), saved: savedSplits(folders, records, where) };
  const chosen = selectFiles(files, choice);
  const current = await currentFiles(place, chosen.paths);
  const words = [chosen.words, current.words].filter((said) => said !== null);
  return { paths: inOneFormat(current.paths, where), words: words.length === 0 ? null : words.join(", ") };
}

/** The configurations that the dataset's card lists, in README.md or in a file of their own. */
async function cardOf(place: DatasetPlace): Promise<CardConfig[]> {
  const has = (name: string): boolean => place.paths.includes(name);
  const where = (name: string): string => `${name} of ${place.where}`;
  // the second file's fields win, as for `datasets`
  if (has(STANDALONE)) {
    const configs = parseCardConfigs(readYaml(await place.readText(STANDALONE), where(STANDALONE)), where(STANDALONE));
    if (configs.length > 0) return configs;
  }
  return has(CARD) ? parseCardConfigs(readFrontMatter(await place.readText(CARD), where(CARD)), where(CARD)) : [];
}

const CARD = "README.md";
const STANDALONE = ".huggingface.yaml";

/** The files in which a dataset describes itself. */
export const CARDS: readonly string[] = [CARD, STANDALONE];

/** Of selected files those that hold a table's current rows; all of them where there is no table. */
async function currentFiles(place: DatasetPlace, selected: readonly string[]): Promise<Chosen> {
  const { paths, where } = place;
  const [table, ...others] = tablesAmong(paths).filter((each) => selected.some((path) => isInTable(each, path)));
  if (table === undefined) return { paths: selected, words: null };
  if (table.kind !== "Delta") throw tableError(table, where, "its records are not read");
  const beside = selected.find((path) => !isInTable(table, path));
  if (others.length > 0 || beside !== undefined)
    throw new UserError("the files to train on are those of several tables, or of a table and others: name the folder of one table", {
      source: where,
      tables: [table, ...others].map(({ kind, folder }) => `${folder === "" ? "." : folder} (${kind})`).join(", "),
      file: beside,
    });
  const active = deltaFiles(table, await textsOf(place, deltaCommits(table, paths, where)), paths, where);
  const current = selected.filter((path) => active.has(path));
  if (current.length === 0) throw tableError(table, where, "it has no rows now");
  return { paths: current, words: `${current.length} of ${selected.length} files, by the log of a Delta table` };
}

async function textsOf(place: DatasetPlace, paths: readonly string[]): Promise<Texts> {
  const texts = new Map<string, string>();
  for (const path of paths) texts.set(path, await place.readText(path));
  return texts;
}

/** The most bytes of a file that describes a dataset. */
const MOST_BYTES = 64 << 20;

/** Throws UserError for a describing file that is too large to be one. */
export function checkSmall(file: string, bytes: number): void {
  if (bytes > MOST_BYTES) throw new UserError("a file that describes a dataset is too large", { file, most: MOST_BYTES, got: bytes });
}
