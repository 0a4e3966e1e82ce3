/** Why a row cannot be read. */
export class RowProblem extends Error {}

/** A row's values by the names of their columns. */
export type Fields = Readonly<Record<string, unknown>>;

/** As Python strips: Unicode's white space and four control characters. */
const EMPTY = /^[\p{White_Space}\x1c-\x1f]*$/u;

/** Whether a text says nothing. */
export function isBlank(text: string): boolean {
  return EMPTY.test(text);
}

/** Values deeper than this are taken for content. */
const MAX_DEPTH = 8;

/** Whether a value says something; lists and objects do if a value in them does. */
export function saysSomething(value: unknown, depth = 0): boolean {
  if (value === null || value === undefined) return false;
  if (typeof value === "string") return !isBlank(value);
  if (typeof value !== "object" || depth === MAX_DEPTH) return true;
  if (ArrayBuffer.isView(value)) return value.byteLength > 0;
  if (isDate(value)) return true;
  return Object.values(value).some((item) => saysSomething(item, depth + 1));
}

/** Which of several columns a row uses: the one with content, else the first that is there. Throws RowProblem if two have content. */
export function columnIn(fields: Fields, names: readonly string[]): string {
  let found: string | undefined;
  for (const name of names) {
    if (fields[name] === undefined) continue;
    if (found === undefined || !saysSomething(fields[found])) found = saysSomething(fields[name]) ? name : (found ?? name);
    else if (saysSomething(fields[name]))
      throw new RowProblem(`${found} and ${name} both have content: say by dataset.columns which one is meant`);
  }
  return found ?? names[0]!;
}

/** A row's text, or null; throws RowProblem if there is neither. */
export function nullableText(fields: Fields, names: readonly string[]): string | null {
  const name = names.length === 1 ? names[0]! : columnIn(fields, names);
  const value = fields[name];
  return value === null ? null : checkedText(value, name);
}

/** A row's text; empty if it is null or not there, or if no column holds it. Throws RowProblem if it is something else. */
export function optionalText(fields: Fields, names: readonly string[]): string {
  if (names.length === 0) return "";
  const name = names.length === 1 ? names[0]! : columnIn(fields, names);
  const value = fields[name];
  return value === null || value === undefined ? "" : checkedText(value, name);
}

/** A text that is one. Throws RowProblem with its `name`. */
export function checkedText(value: unknown, name: string): string {
  if (typeof value !== "string")
    throw new RowProblem(value === undefined ? `${name} is missing` : `${name}: expected text, got ${kindOf(value)}`);
  if (!value.isWellFormed()) throw new RowProblem(`${name}: half of a surrogate pair is not a character`);
  return value;
}

/** A list, or JSON text of one, as CSV has them. Throws RowProblem with its `name`. */
export function checkedList(value: unknown, name: string): readonly unknown[] {
  const list = listIn(value);
  if (list !== null) return list;
  if (value === undefined) throw new RowProblem(`${name} is missing`);
  const isPython = typeof value === "string" && /^\s*\[\s*[{['(]/.test(value);
  throw new RowProblem(
    `${name}: expected a list, got ${kindOf(value)}${isPython ? " that is not JSON: write it with Python's json.dumps, not with str" : ""}`,
  );
}

/** A list, or the one in JSON text; null: it is neither. */
export function listIn(value: unknown): readonly unknown[] | null {
  if (Array.isArray(value)) return value;
  if (typeof value !== "string" || !value.trimStart().startsWith("[")) return null;
  try {
    return JSON.parse(value) as readonly unknown[];
  } catch {
    return null;
  }
}

/** Whether a value is a date, as columns of Parquet and Arrow have them. */
function isDate(value: unknown): boolean {
  return Object.prototype.toString.call(value) === "[object Date]";
}

/** A value's kind, for a message. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (ArrayBuffer.isView(value)) return "bytes that are not UTF-8";
  if (isDate(value)) return "a date";
  return Array.isArray(value) ? "a list" : typeof value;
}
