import { UserError } from "../../errors.js";

/** Which linear layers get an adapter: PEFT's rules, over the names of modules such as `layers.0.attention.query`. */

/** A regular expression that must match a whole name; or the ends of names, whole between dots. */
export type ModuleRule = string | readonly string[];

/** The target that stands for every linear layer but the head. */
const ALL_LINEAR = "all-linear";

/** Whether a rule takes every linear layer but the head; PEFT reads it in capitals as well. */
export function isAllLinear(rule: ModuleRule): boolean {
  return typeof rule === "string" && rule.toLowerCase() === ALL_LINEAR;
}

/** Whether a rule takes a module. `where`: the setting, for errors. Throws UserError for an expression that is not one. */
export function takesModule(rule: ModuleRule, module: string, where: string): boolean {
  if (typeof rule !== "string") return rule.some((name) => isEnd(name, module));
  return expression("", rule, where).test(module);
}

/** What a pattern says of a module: the value of the first key, an expression anchored at a dot and at the end, that matches. */
export function patternValue(pattern: Readonly<Record<string, number>>, module: string, where: string): number | undefined {
  return Object.entries(pattern).find(([key]) => expression("(?:.*\\.)?", key, where).test(module))?.[1];
}

/** Whether a name is a module's own, or ends it behind a dot. */
export function isEnd(name: string, module: string): boolean {
  return module === name || module.endsWith(`.${name}`);
}

/** What Python spells otherwise than JavaScript, to which \Z would be the letter. */
const SPELLINGS: readonly (readonly [RegExp, string])[] = [
  [/\(\?P</g, "(?<"],
  [/\(\?P=(\w+)\)/g, "\\k<$1>"],
  [/(?<!\\)((?:\\\\)*)\\A/g, "$1^"],
  [/(?<!\\)((?:\\\\)*)\\Z/g, "$1$$"],
];

/** Repetitions without a near end, and things that may be left out, that an expression may have: a name has some 60 characters. */
const [MAX_REPEATS, MAX_OPTIONAL] = [4, 10];

/**
 * Throws UserError for an expression that may try for hours: an adapter's config comes from anywhere, and nothing interrupts a
 * match. Names of layers need no repeated groups.
 */
function refuseSlow(spelled: string, got: string, where: string): void {
  // escapes and sets match one character
  const bare = spelled.replace(/\\./gs, "_").replace(/\[\^?\]?[^\]]*\]/g, "_");
  const repeats = bare.match(/[*+]|\{\d+,\d*\}|\{\d{2,}\}/g)?.length ?? 0;
  const optional = bare.match(/(?<!\()\?/g)?.length ?? 0;
  if (/\)[*+{]/.test(bare) || repeats > MAX_REPEATS || optional > MAX_OPTIONAL)
    throw new UserError(`${where} has an expression that may take too long to match: write it without repeated groups`, {
      expected: `at most ${MAX_REPEATS} repetitions`,
      got,
    });
}

/** An expression in Python's or JavaScript's spelling that matches a whole name, behind what matches `start`. */
function expression(start: string, got: string, where: string): RegExp {
  // Python has the flags of a whole expression at its beginning
  const [flags, letters = ""] = /^\(\?([is]+)\)/.exec(got) ?? [""];
  const spelled = SPELLINGS.reduce((text, [python, own]) => text.replace(python, own), got.slice(flags.length));
  refuseSlow(spelled, got, where);
  try {
    return new RegExp(`^${start}(?:${spelled})$`, letters.includes("i") ? "is" : "s");
  } catch (error) {
    throw new UserError(`${where} is not a regular expression`, { got }, { cause: error });
  }
}
