import { UserError } from "../../core/errors.js";

/** How rows lie in a JSON file, and where the first one may start: offset in bytes, line from 1, columns before it. */
export interface JsonShape {
  /** the elements of a list; one row a line; objects one after the other */
  readonly form: "list" | "lines" | "objects";
  /** of a list below a key: the place after its bracket */
  readonly inside?: { readonly offset: number; readonly line: number; readonly column: number };
}

/** A key of the only object of a file, and what is known of its value. */
export interface TopKey {
  readonly name: string;
  kind: "object" | "list" | "text" | "scalar";
  /** of a list: its first element */
  first: "object" | "list" | "text" | "scalar" | "nothing";
  /** of an object: its keys; of a list of objects: those of the objects */
  readonly keys: string[];
  /** of an object: those of its keys that hold lists of objects */
  readonly below: string[];
  /** of a list: the place after its bracket */
  at?: JsonShape["inside"];
}

/** What the turns of a conversation have: a list of them is part of a row, not a list of rows. */
const TURN_KEYS = ["role", "from", "speaker"];
const ADVICE = "save the rows as a list of objects, or one object a line";

/**
 * Where the rows of a file with one object lie: in the list of objects below its only key that has one. null: the object itself
 * is a row. Throws UserError that names the keys or the form if it is neither.
 */
export function unwrappedAt(keys: readonly TopKey[], columns: readonly string[], file: string): JsonShape | null {
  const isRow = keys.some(({ name }) => columns.includes(name)) && !isColumnar(keys);
  const lists = keys.filter(({ kind, first }) => kind === "list" && first === "object");
  if (isRow || lists.some(isConversation)) return null;
  const names = (of: readonly { readonly name: string }[]): string => of.map(({ name }) => name).join(", ");
  const likeliest = lists.find(({ keys: inside }) => inside.some((name) => columns.includes(name))) ?? lists.at(-1);
  if (lists.length > 1)
    throw new UserError("a data file is one object with several lists of rows: save the list to train on in a file of its own", {
      file,
      keys: names(lists),
      example: `jq '.${likeliest!.name}' ${file}`,
    });
  if (lists.length === 1) return { form: "list", inside: lists[0]!.at! };
  const deeper = keys.flatMap((key) => key.below.map((name) => `${key.name}.${name}`));
  if (deeper.length > 0)
    throw new UserError("a data file's rows lie below two keys: save the list to train on in a file of its own", {
      file,
      keys: deeper.slice(0, 20).join(", "),
      example: `jq '.${deeper[0]}' ${file}`,
    });
  const form = columnForm(keys);
  if (form === null) return null;
  throw new UserError(`a data file is one object ${form.what}, not a list of rows: ${ADVICE}`, {
    file,
    keys: names(keys.slice(0, 20)),
    example: `pandas.read_json(FILE${form.orient}).to_json("rows.jsonl", orient="records", lines=True)`,
  });
}

function isConversation({ keys }: TopKey): boolean {
  return keys.some((name) => TURN_KEYS.includes(name));
}

function isColumnar(keys: readonly TopKey[]): boolean {
  return columnForm(keys) !== null;
}

/** How pandas calls the form of an object that holds columns; null: it does not. */
function columnForm(keys: readonly TopKey[]): { readonly what: string; readonly orient: string } | null {
  if (keys.length === 0) return null;
  const byName = new Map(keys.map((key) => [key.name, key]));
  if (["columns", "index", "data"].every((name) => byName.get(name)?.kind === "list"))
    return { what: 'with columns, index and data (pandas\' orient="split")', orient: ', orient="split"' };
  // rows of tokens are lists of numbers, too
  if (keys.every(({ kind }) => kind === "list") && keys.some(({ first }) => first === "text" || first === "list"))
    return { what: "with a list for each column", orient: "" };
  if (!keys.every(({ kind }) => kind === "object")) return null;
  const numbered = (names: readonly string[]): boolean => names.length > 0 && names.every((name) => /^\d+$/.test(name));
  if (keys.every((key) => numbered(key.keys)))
    return { what: "with an object of row numbers for each column (pandas' default)", orient: "" };
  if (numbered(keys.map(({ name }) => name)) || keys.length > 1)
    return { what: 'with an object for each row (pandas\' orient="index")', orient: ', orient="index"' };
  return null;
}
