import { UserError } from "../errors.js";
import { DATA_FORMATS, formatOf, FORMATS } from "./data-format.js";

/** Files that describe a dataset or a package and hold no rows. */
const NO_ROWS = /(^|\/)(dataset_infos|dataset_dict|dataset_info|state|config|package|package-lock)\.json$/;

/**
 * The data files among paths with slashes, all of one format: those of the training split, or those of no split if no name
 * speaks of training. Throws UserError if there are none to train on. `where` names the source in the message.
 */
export function selectDataFiles(paths: readonly string[], where: string): string[] {
  const data = paths.filter((path) => formatOf(path) !== null && !NO_ROWS.test(path) && !/(^|\/)\./.test(path));
  if (data.length === 0)
    throw new UserError("a dataset needs a data file", {
      source: where,
      expected: DATA_FORMATS,
      got: paths.length === 0 ? "no files" : someOf(paths),
    });
  const train = data.filter((path) => splitOf(path) === "train");
  const wanted = train.length > 0 ? train : data.filter((path) => splitOf(path) === null);
  if (wanted.length === 0)
    throw new UserError(
      "a dataset has no rows to train on, because all its files are for tests: rename those that are not, or name one file",
      {
        source: where,
        expected: "a name with train, or without test, validation, dev and eval",
        got: someOf(data),
      },
    );
  const format = FORMATS.find((each) => wanted.some((path) => formatOf(path) === each));
  return wanted.filter((path) => formatOf(path) === format).toSorted();
}

/** The split that a path speaks of: its last part that names one decides, and a part that names both means training. */
function splitOf(path: string): "train" | "other" | null {
  for (const part of path.toLowerCase().split("/").toReversed()) {
    const words = part.split(/[^a-z]+/);
    if (words.some((word) => TRAIN.includes(word))) return "train";
    if (words.some((word) => OTHERS.includes(word))) return "other";
  }
  return null;
}

const TRAIN = ["train", "training"];
const OTHERS = ["test", "valid", "validation", "dev", "val", "eval"];

/** The first few of many names, for a line of text. */
export function someOf(paths: readonly string[]): string {
  const more = paths.length > 5 ? ` and ${paths.length - 5} more` : "";
  return `${paths.slice(0, 5).join(" ")}${more}`;
}
