import { Environment } from "@huggingface/jinja";
import { PYTHON_SPACE } from "../../core/text/python-space.js";

/** Values of the Jinja library, and what Python does with them. */

/** A value of the library: its own types do not resolve. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
  __bool__(): { readonly value: boolean };
}

/** A value of the library from one of JavaScript's. */
export const make = (value: unknown): Value => new Environment().set("value", value) as Value;

/** Whether a value counts as true. */
export const isTrue = (value: Value): boolean => value["__bool__"]().value;

/** Whether a value is a text. */
export const isText = (value: Value): value is Value & { readonly value: string } => value.type === "StringValue";

/** Whether a value is a list or a tuple. */
export const isList = (value: Value): value is Value & { readonly value: readonly Value[] } =>
  ["ArrayValue", "TupleValue"].includes(value.type);

/** Whether a value is an object. */
export const isObject = (value: Value): value is Value & { readonly value: ReadonlyMap<string, Value> } => value.type === "ObjectValue";

/** Whether a value is a number and not a boolean. */
export const isNumber = ({ type }: Value): boolean => type === "IntegerValue" || type === "FloatValue";

/** A value as Python writes it. Throws Error for one that it would write in a way of its own. */
export function printed(value: Value): string {
  switch (value.type) {
    case "StringValue":
      return value.value as string;
    case "BooleanValue":
      return value.value === true ? "True" : "False";
    case "NullValue":
      return "None";
    case "UndefinedValue":
      return "";
    case "IntegerValue":
    case "FloatValue": {
      const size = Math.abs(value.value as number);
      if (size < 1e15 && (size === 0 || size >= 1e-4)) return (value as unknown as { toString(): string }).toString();
    }
  }
  throw new Error("a template writes a list, an object or a function: Python would print it in its own way");
}

/** Python's ==. */
export function equal(a: Value, b: Value): boolean {
  const number = (value: Value): unknown => (isNumber(value) || value.type === "BooleanValue" ? Number(value.value) : null);
  if (number(a) !== null || number(b) !== null) return number(a) === number(b);
  if (a.type !== b.type) return false;
  if (isList(a) && isList(b)) return a.value.length === b.value.length && a.value.every((item, at) => equal(item, b.value[at]!));
  if (isObject(a) && isObject(b))
    return a.value.size === b.value.size && [...a.value].every(([key, item]) => b.value.has(key) && equal(item, b.value.get(key)!));
  return a.value === b.value;
}

/** Whether the library writes a value's JSON as Python does. */
export function isJson(value: Value): boolean {
  if (isList(value)) return value.value.every(isJson);
  if (isObject(value)) return [...value.value.values()].every(isJson);
  return ["StringValue", "IntegerValue", "BooleanValue", "NullValue"].includes(value.type);
}

const SPACES = new RegExp(`^[${PYTHON_SPACE}]$`);

/** Python's strip, lstrip and rstrip, given nothing or the characters to strip. */
export function strip(text: string, method: "strip" | "lstrip" | "rstrip", args: readonly (Value | null)[]): string {
  const [given] = args;
  if (args.length > 1 || (given !== undefined && (given === null || (!isText(given) && given.type !== "NullValue"))))
    throw new Error(`${method} takes one text`);
  const set = given !== undefined && isText(given) ? new Set(given.value) : null;
  const goes = (character: string | undefined): boolean =>
    character !== undefined && (set === null ? SPACES.test(character) : set.has(character));
  const characters = Array.from(text);
  let [start, end] = [0, characters.length];
  if (method !== "rstrip") while (start < end && goes(characters[start])) start++;
  if (method !== "lstrip") while (end > start && goes(characters[end - 1])) end--;
  return characters.slice(start, end).join("");
}

/** Python's split without a separator, into at most `most` words and the rest; below 0: into all. */
export function words(text: string, most: number): string[] {
  if (!Number.isInteger(most)) throw new Error("split takes a text and a number");
  const found: string[] = [];
  let rest = strip(text, "lstrip", []);
  while (rest !== "" && (most < 0 || found.length < most)) {
    const [word] = new RegExp(`^[^${PYTHON_SPACE}]+`).exec(rest)!;
    found.push(word);
    rest = strip(rest.slice(word.length), "lstrip", []);
  }
  return rest === "" ? found : [...found, rest];
}

/** Python's capitalize or title. Throws Error for texts where more than their first letter matters. */
export function capitalized(text: string, method: string): string {
  if (!(method === "title" ? /^[A-Za-z]*$/ : /^[\x20-\x7e]*$/).test(text))
    throw new Error(`${method} of other letters than A to Z is not carried out as in Python`);
  return text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase();
}
