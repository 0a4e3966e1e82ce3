import { UserError } from "../errors.js";
import { pythonStrip } from "../text/python-space.js";

/** Texts with `{{field}}` in them, as descriptions of tasks have them. */

/** An item's fields, by name. */
export type Fields = Readonly<Record<string, unknown>>;

const FILTERS: Readonly<Record<string, (text: string) => string>> = { trim: pythonStrip, capitalize };

/** As Python does: the first character in title case, all others in small letters. */
function capitalize(text: string): string {
  const [first = "", ...rest] = text;
  const [large = "", ...more] = TITLES[first] ?? first.toUpperCase();
  // small letters of the whole, because the last one of a Greek word has a form of its own
  return large + more.join("").toLowerCase() + (first + rest.join("")).toLowerCase().slice(first.toLowerCase().length);
}

/** Characters whose title case is not their upper case. */
const TITLES: Readonly<Record<string, string>> = Object.fromEntries(
  ["Ǆǅǆ", "Ǉǈǉ", "Ǌǋǌ", "Ǳǲǳ"].flatMap((forms) => Array.from(forms, (form) => [form, forms[1]!])),
);

/** The value of a field, `choices.text` for a field of a field. Throws UserError that names it and those that are there. */
export function valueAt(fields: Fields, path: string): unknown {
  let value: unknown = fields;
  for (const key of path.split(".")) {
    const there = typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
    if (!Object.hasOwn(there, key))
      throw new UserError("the item has no such field", { field: path, fields: Object.keys(there).join(" ") || "none" });
    value = there[key];
  }
  return value;
}

/** The text of a template for an item. Throws UserError that names the field that is missing or is neither text nor number, or an unknown filter. */
export function render(template: string, fields: Fields): string {
  return template.replace(/\{\{([^{}]*)\}\}/g, (_, inside: string) => {
    const [path, ...filters] = inside.split("|").map((part) => part.trim());
    const value = valueAt(fields, path!);
    if (typeof value !== "string" && typeof value !== "number")
      throw new UserError("a field must be a text", { field: path, got: JSON.stringify(value) });
    return filters.reduce((text, filter) => filterNamed(filter)(text), String(value));
  });
}

function filterNamed(name: string): (text: string) => string {
  if (!Object.hasOwn(FILTERS, name)) throw new UserError("a filter is unknown", { expected: Object.keys(FILTERS).join(" "), got: name });
  return FILTERS[name]!;
}

/** The names of the columns that templates and paths read. */
export function columnsIn(templates: readonly string[], paths: readonly string[]): string[] {
  const inside = templates.flatMap((template) => [...template.matchAll(/\{\{([^{}|]*)/g)].map((match) => match[1]!.trim()));
  return [...new Set([...inside, ...paths].map((path) => path.split(".")[0]!))];
}
