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
    const matcher = matcherOf(text);
    return paths.filter((path) => matcher(path) && isAskedFor(path, text));
  };
  const plain = parts.join("/");
  const matched = matching(plain);
  if (matched.length > 0) return matched.toSorted();
  if (paths.includes(plain)) return [plain];
  const texts = alternatives(plain);
  if (texts.length > MOST_ALTERNATIVES) refuse(`its braces stand for more than ${MOST_ALTERNATIVES} patterns`);
  return [...new Set(texts.flatMap(matching))].toSorted();
}

const MOST_ALTERNATIVES = 256;

/** The texts that `{a,b}` in a pattern stands for, or one more than there may be; the pattern alone if it has none. */
function alternatives(pattern: string): string[] {
  let texts = [pattern];
  for (;;) {
    const expanded = texts.flatMap((text) => {
      const [whole, before, inside, after] = /^(.*?)\{([^{}]*,[^{}]*)\}(.*)$/s.exec(text) ?? [];
      return whole === undefined ? [text] : inside!.split(",").map((each) => `${before}${each}${after}`);
    });
    if (expanded.length === texts.length || expanded.length > MOST_ALTERNATIVES) return expanded;
    texts = expanded;
  }
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

/** Whether a path matches a pattern, in a time that no pattern makes long: a card may come from anywhere. */
function matcherOf(pattern: string): (path: string) => boolean {
  const parts = pattern.split("/").map((part) => (part === "**" ? ANY : charactersOf(part)));
  // ** at the end is at least one part
  if (parts.at(-1) === ANY) parts.push([ANY]);
  const fits = (part: readonly CharacterTest[], text: string): boolean =>
    matchesInOrder(part, [...text], (test, character) => test(character));
  return (path) => matchesInOrder(parts, path.split("/"), (part, text) => fits(part, text));
}

/** Stands for any number of parts, or of characters. */
const ANY = "any";
type CharacterTest = typeof ANY | ((character: string) => boolean);

/** Whether a pattern matches all items in their order; after a mismatch the last ANY takes one item more. */
function matchesInOrder<Step, Item>(
  pattern: readonly Step[],
  items: readonly Item[],
  fits: (step: Exclude<Step, typeof ANY>, item: Item) => boolean,
): boolean {
  let [step, item, any, taken] = [0, 0, -1, 0];
  const isAny = (): boolean => step < pattern.length && pattern[step] === ANY;
  while (item < items.length) {
    if (isAny()) [any, taken, step] = [step, item, step + 1];
    else if (step < pattern.length && fits(pattern[step] as Exclude<Step, typeof ANY>, items[item]!)) [step, item] = [step + 1, item + 1];
    else if (any < 0) return false;
    else [step, item, taken] = [any + 1, taken + 1, taken + 1];
  }
  while (isAny()) step++;
  return step === pattern.length;
}

function charactersOf(part: string): CharacterTest[] {
  const characters = [...part];
  const tests: CharacterTest[] = [];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    // a ] at the beginning of a set is one of its characters
    const first = characters[at + 1] === "!" ? at + 2 : at + 1;
    const end = character === "[" ? characters.indexOf("]", first + 1) : -1;
    if (end >= 0) {
      tests.push(setOf(characters.slice(first, end), first > at + 1));
      at = end;
    } else tests.push(character === "*" ? ANY : (other) => character === "?" || other === character);
  }
  return tests;
}

/** A set's characters and ranges; a range whose ends are the wrong way round holds nothing. */
function setOf(characters: readonly string[], isNegated: boolean): (character: string) => boolean {
  const ranges: (readonly [first: number, last: number])[] = [];
  const code = (character: string): number => character.codePointAt(0)!;
  for (let at = 0; at < characters.length; at++) {
    const [first, hyphen, last] = characters.slice(at, at + 3);
    const isRange = hyphen === "-" && last !== undefined;
    ranges.push([code(first!), code(isRange ? last : first!)]);
    if (isRange) at += 2;
  }
  return (character) => ranges.some(([first, last]) => first <= code(character) && code(character) <= last) !== isNegated;
}
