import { z } from "zod";
import { UserError } from "../errors.js";
import { DEFAULT } from "./layout.js";
import { splitIn } from "./split-name.js";

/** A split that `datasets` wrote with save_to_disk: Arrow files, of which its state.json names those that count. */
export interface SavedSplit {
  readonly config: string;
  readonly split: string;
  readonly paths: readonly string[];
}

/** Texts of files of a dataset, by path. */
export type Texts = ReadonlyMap<string, string>;

const state = z.looseObject({
  _data_files: z.array(z.looseObject({ filename: z.string().min(1) })),
  _indices_data_files: z.array(z.unknown()).nullable().optional(),
  _split: z.string().min(1).nullable().optional(),
});
const dictionary = z.looseObject({ splits: z.array(z.string().min(1)) });

/** The folders that save_to_disk wrote: they have state.json and dataset_info.json. "" for the dataset itself. */
export function savedFolders(paths: readonly string[]): string[] {
  const names = new Set(paths);
  const folders = paths.flatMap((path) => /^(.*\/)?state\.json$/.exec(path)?.[1] ?? (path === "state.json" ? [""] : []));
  return folders.map((folder) => folder.replace(/\/$/, "")).filter((folder) => names.has(below(folder, "dataset_info.json")));
}

/** The small files that say what saved folders hold. */
export function savedRecords(folders: readonly string[], paths: readonly string[]): string[] {
  const dictionaries = new Set(folders.map((folder) => below(parentOf(folder), "dataset_dict.json")));
  return [...folders.map((folder) => below(folder, "state.json")), ...paths.filter((path) => dictionaries.has(path))];
}

/** The splits that are in saved folders, each with its files in order. Throws UserError for records that cannot be used. */
export function savedSplits(folders: readonly string[], texts: Texts, where: string): SavedSplit[] {
  const splits: SavedSplit[] = [];
  for (const folder of folders) {
    const record = below(folder, "state.json");
    const { _data_files: files, _indices_data_files: indices, _split: named } = parsed(state, texts.get(record)!, record, where);
    if ((indices ?? []).length > 0)
      throw new UserError(
        "a saved dataset picks its rows by a file of indices: save it again with a newer `datasets`, which writes the rows alone",
        {
          source: where,
          file: record,
        },
      );
    const list = texts.get(below(parentOf(folder), "dataset_dict.json"));
    const name = folder.slice(folder.lastIndexOf("/") + 1);
    const isMember = list !== undefined && folder !== "";
    // a folder that the list of splits lacks is left over from an earlier save
    if (isMember && !parsed(dictionary, list, "dataset_dict.json", where).splits.includes(name)) continue;
    const isSplit = folder !== "" && (isMember || splitIn(name) !== null);
    const wanted = files.map(({ filename }) => below(folder, filename));
    const config = (isSplit ? parentOf(folder) : folder) || DEFAULT;
    const split = isMember ? name : isSplit ? splitIn(name)!.name : (named ?? "train");
    splits.push({ config, split, paths: wanted });
  }
  return splits;
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
const below = (folder: string, name: string): string => (folder === "" ? name : `${folder}/${name}`);

function parsed<Schema extends z.ZodType>(schema: Schema, text: string, file: string, where: string): z.infer<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError("a saved dataset's record is not JSON", { source: where, file }, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new UserError("a saved dataset's record cannot be used", { source: where, file, field: path.join("."), problem: message });
}
