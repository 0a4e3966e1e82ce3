import { UserError } from "../errors.js";

/**
 * The files that a pattern of a dataset's card names, in the order of their names. A pattern means what it means to
 * `datasets`, which asks fsspec: `*` and `?` stay within a part of the path, `**` is a whole part and means any parts,
 * `[a-z]` and `[!a-z]` are sets of characters. If no file matches, one that is called so is meant, and `{a,b}` is either of two. Files and folders
 * that begin with a dot, and folders that begin with two underscores, have to be asked for: the pattern has as many of them.
 * Throws UserError for a pattern that leaves the dataset or that no file can match.
 */
export function matchFiles(pattern: string, paths: readonly string[], where: string): string[] {
  const refuse = (problem: string): never => {
    throw new UserError(`a pattern of the dataset's card cannot be used: ${problem}`, { source: where, pattern });
  };
  if (/^[a-z][a-z\d+.-]*:\/\//i.test(pattern) || pattern.includes("::")) refuse("it must name files of the dataset itself");
  if (pattern.startsWith("/")) refuse("it must be relative to the dataset");
  const parts = pattern.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) refuse("it leaves the dataset");
  if (parts.some((part) => part.includes("**") && part !== "**")) refuse("** must be a whole part of the path, as in data/**/*.json");
  const matching = (text: string): string[] => {
    const expression = globExpression(text);
    return paths.filter((path) => expression.test(path) && isAskedFor(path, text));
  };
  const plain = parts.join("/");
  const found = [matching(plain), paths.filter((path) => path === plain), alternatives(plain).flatMap(matching)];
  return [...new Set(found.find((files) => files.length > 0))].toSorted();
}

/** Every text that `{a,b}` in a pattern stands for; the pattern alone if it has none. */
function alternatives(pattern: string): string[] {
  const [whole, before, inside, after] = /^(.*?)\{([^{}]*,[^{}]*)\}(.*)$/s.exec(pattern) ?? [];
  return whole === undefined ? [pattern] : inside!.split(",").flatMap((each) => alternatives(`${before}${each}${after}`));
}

function isAskedFor(path: string, pattern: string): boolean {
  const hidden = (text: string): number => text.split("/").filter((part) => part.startsWith(".") && !/^\.*$/.test(part)).length;
  const special = (text: string): number =>
    text
      .split("/")
      .slice(0, -1)
      .filter((part) => part.startsWith("__")).length;
  return hidden(path) === hidden(pattern) && special(path) === special(pattern);
}

/** A pattern as a regular expression over whole paths, as fsspec translates it. */
function globExpression(pattern: string): RegExp {
  const parts = pattern.split("/");
  const translated = parts.map((part, index) => {
    const isLast = index === parts.length - 1;
    if (part === "**") return isLast ? ".*" : "(?:.+/)?";
    return `${part === "*" ? "[^/]+" : partExpression(part)}${isLast ? "" : "/"}`;
  });
  return new RegExp(`^${translated.join("")}$`, "su");
}

function partExpression(part: string): string {
  const characters = [...part];
  let expression = "";
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    // a ] at the beginning of a set is one of its characters
    const first = characters[at + 1] === "!" ? at + 2 : at + 1;
    const end = character === "[" ? characters.indexOf("]", first + 1) : -1;
    if (end >= 0) {
      expression += setExpression(characters.slice(first, end), first > at + 1);
      at = end;
    } else expression += character === "*" ? "[^/]*" : character === "?" ? "[^/]" : escaped(character);
  }
  return expression;
}

/** A set's characters and ranges; a range whose ends are the wrong way round is left out. */
function setExpression(characters: readonly string[], isNegated: boolean): string {
  let inside = "";
  for (let at = 0; at < characters.length; at++) {
    const [first, hyphen, last] = characters.slice(at, at + 3);
    if (hyphen === "-" && last !== undefined) {
      if (first! <= last) inside += `${escaped(first!)}-${escaped(last)}`;
      at += 2;
    } else inside += escaped(first!);
  }
  if (inside === "") return isNegated ? "." : "(?!)";
  return `[${isNegated ? "^" : ""}${inside}]`;
}

const escaped = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;
