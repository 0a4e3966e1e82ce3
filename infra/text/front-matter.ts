import { parseDocument, stringify } from "yaml";
import { UserError } from "../../core/errors.js";

/** What the Python client takes for front matter: between --- at the very beginning and the next ---. */
const FRONT_MATTER = /^\s*---(?:\r\n|\r|\n)([^]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)/;

/**
 * The YAML at the beginning of a card, a tree whose scalars are texts as they are written, because a configuration may be
 * called `no` or `1.0`; an empty mapping if the card has none. Throws UserError if it is not YAML.
 */
export function readFrontMatter(card: string, where: string): unknown {
  const [, yaml] = FRONT_MATTER.exec(card) ?? [];
  return yaml === undefined ? {} : readYaml(yaml, where);
}

/** Hundreds of configurations take a tenth of it. Parsing a megabyte takes seconds, in which a worker does nothing else. */
const MOST_CHARACTERS = 2 << 20;

/** YAML as a tree whose scalars are texts; an empty mapping for an empty text. Throws UserError if it is not YAML, or is too long. */
export function readYaml(text: string, where: string): unknown {
  if (text.length > MOST_CHARACTERS)
    throw new UserError("the front matter of the dataset's card is too long", { source: where, most: MOST_CHARACTERS, got: text.length });
  try {
    const document = parseDocument(text, { schema: "failsafe", merge: true, uniqueKeys: false, logLevel: "silent", prettyErrors: false });
    const [problem] = document.errors;
    if (problem !== undefined) throw problem;
    const tree = document.toJS({ maxAliasCount: 100 }) as unknown;
    return tree === null || tree === "" ? {} : tree;
  } catch (error) {
    throw new UserError(
      "the front matter of the dataset's card is not YAML: correct it, or leave it out",
      { source: where },
      { cause: error },
    );
  }
}

/** A value as YAML, each of its texts on one line. */
export function writeYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, indentSeq: false, aliasDuplicateObjects: false });
}
