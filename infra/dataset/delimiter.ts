import { UserError } from "../../core/errors.js";

/** Characters that may stand between fields, with their names. */
const DELIMITERS = { ",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar" } as const;

/** A character between fields. */
export type Delimiter = keyof typeof DELIMITERS;

/**
 * The character between the fields of a table, by its header: the only one that cuts it; of several, the one that gives most
 * of the expected names; `usual` if none does. Throws UserError naming the file and the characters if two would do.
 */
export function delimiterOf(header: string, columns: readonly string[], usual: Delimiter, file: string): Delimiter {
  const cuts = (Object.keys(DELIMITERS) as Delimiter[])
    .map((delimiter) => ({ delimiter, fields: fieldsOf(header, delimiter) }))
    .filter(({ fields }) => fields.length > 1);
  if (cuts.length === 0) return usual;
  const known = cuts.map(({ fields }) => new Set(fields.filter((name) => columns.includes(name))).size);
  const most = Math.max(...known);
  const best = cuts.filter((_, at) => known[at] === most);
  if (best.length === 1) return best[0]!.delimiter;
  throw new UserError(
    "the fields of a data file's header may be cut in more than one way: put names with such characters into quotes, or rename them",
    {
      file,
      header: header.slice(0, 200),
      by: best.map(({ delimiter }) => DELIMITERS[delimiter]).join(" or "),
    },
  );
}

/** The header's fields; a delimiter in quotes is a character. */
function fieldsOf(header: string, delimiter: Delimiter): string[] {
  const fields: string[] = [];
  let field = "";
  let inQuotes = false;
  for (let at = 0; at < header.length; at++) {
    const character = header[at]!;
    if (character === '"' && inQuotes && header[at + 1] === '"') {
      field += '"';
      at++;
    } else if (character === '"' && (inQuotes || field === "")) inQuotes = !inQuotes;
    else if (character === delimiter && !inQuotes) {
      fields.push(field);
      field = "";
    } else field += character;
  }
  return [...fields, field];
}

/** The first line of a table that is not blank, and where it begins; a line feed in quotes does not end it. null: more text is needed. */
export function headerLine(text: string): string | null {
  const begin = /^[\r\n]*/.exec(text)![0].length;
  let inQuotes = false;
  for (let at = begin; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"') inQuotes = !inQuotes;
    else if (!inQuotes && (character === "\n" || character === "\r")) return text.slice(begin, at);
  }
  return null;
}
