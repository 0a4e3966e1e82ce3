import { z } from "zod";
import { UserError } from "../errors.js";

/** A configuration that a dataset's card lists. */
export interface CardConfig {
  readonly name: string;
  readonly isDefault: boolean;
  /** the folder that its files are below; "" for the whole dataset */
  readonly directory: string;
  /** patterns of the files of each split, below the folder; null: the folder's layout tells */
  readonly splits: ReadonlyMap<string, readonly string[]> | null;
}

/** The letters, digits and underscores that `datasets` allows in a split's name. */
const split = z.string().regex(/^[\p{L}\p{N}_]+(\.[\p{L}\p{N}_]+)*$/u, "must be a split's name, of letters, digits, underscores and dots");
const pattern = z.string().min(1);
const patterns = z.array(pattern).min(1);
const dataFiles = z.union(
  [pattern, z.array(z.union([pattern, z.strictObject({ split, path: z.union([pattern, patterns]) })])).min(1)],
  "must be a pattern, a list of patterns, or a list of {split, path}",
);
const isNull = (text: string | undefined): boolean => text === undefined || /^(|~|null)$/i.test(text);

/** Scalars are texts, as they are written. */
const config = z.looseObject({
  config_name: z.string("must be there: the name of a configuration").min(1),
  data_files: z.preprocess((value) => (typeof value === "string" && isNull(value) ? undefined : value), dataFiles.optional()),
  data_dir: z.string().optional(),
  default: z.string().optional(),
});

/**
 * The configurations in a card's front matter, a tree whose scalars are texts; none if it lists none. Throws UserError if
 * `configs` cannot be used, where `datasets` refuses it as well.
 */
export function parseCardConfigs(frontMatter: unknown, where: string): CardConfig[] {
  const refuse = (problem: string): never => {
    throw new UserError("the configs in the dataset's card cannot be used", { source: where, problem });
  };
  if (typeof frontMatter !== "object" || frontMatter === null || Array.isArray(frontMatter))
    return refuse("the front matter is not a mapping");
  const { configs } = frontMatter as { readonly configs?: unknown };
  if (configs === undefined || (typeof configs === "string" && isNull(configs))) return [];
  const parsed = z.array(config, "configs must be a list").safeParse(configs);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    return refuse(`${["configs", ...path].join(".")}: ${message}`);
  }
  const read = parsed.data.map((each): CardConfig => ({
    name: each.config_name,
    isDefault: each.config_name === "default" || /^(true|yes|on)$/i.test(each.default ?? ""),
    directory: isNull(each.data_dir) ? "" : directoryOf(each.data_dir!, refuse),
    splits: each.data_files === undefined ? null : splitsOf(each.data_files, each.config_name, refuse),
  }));
  // of two with one name, the last counts, as in a Python dictionary
  const byName = new Map(read.map((each) => [each.name, each]));
  const described = onlyDescribed(frontMatter);
  if (!read.some(({ isDefault }) => isDefault) && byName.has(described))
    byName.set(described, { ...byName.get(described)!, isDefault: true });
  const defaults = [...byName.values()].filter(({ isDefault }) => isDefault);
  if (defaults.length > 1) refuse(`several are the default: ${defaults.map(({ name }) => name).join(", ")}`);
  return [...byName.values()];
}

/** The only configuration whose columns the card describes, which `datasets` takes where none is the default; "" if there is none. */
function onlyDescribed({ dataset_info: infos }: { readonly dataset_info?: unknown }): string {
  const [info, ...others] = (Array.isArray(infos) ? infos : [infos]) as readonly { readonly config_name?: unknown }[];
  const name = others.length > 0 ? undefined : info?.config_name;
  return typeof name === "string" ? name : "";
}

function directoryOf(text: string, refuse: (problem: string) => never): string {
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  return text.startsWith("/") || parts.includes("..") ? refuse(`the data_dir ${text} is not a folder of the dataset`) : parts.join("/");
}

function splitsOf(
  files: z.infer<typeof dataFiles>,
  name: string,
  refuse: (problem: string) => never,
): ReadonlyMap<string, readonly string[]> {
  if (typeof files === "string") return new Map([["train", [files]]]);
  const named = files.filter((each) => typeof each !== "string");
  const plain = files.filter((each) => typeof each === "string");
  if (named.length === 0) return new Map([["train", plain]]);
  if (plain.length > 0) return refuse(`data_files of ${name} mix patterns with and without a split`);
  const splits = new Map(named.map((each) => [each.split, typeof each.path === "string" ? [each.path] : each.path]));
  return splits.size < named.length ? refuse(`data_files of ${name} name a split twice`) : splits;
}
