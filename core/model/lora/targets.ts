import { UserError } from "../../errors.js";

/** Which linear layers get an adapter: PEFT's rules, over the names of modules such as `layers.0.attention.query`. */

/** A regular expression that must match a whole name; or the ends of names, whole between dots. */
export type ModuleRule = string | readonly string[];

/** The target that stands for every linear layer but the head. */
export const ALL_LINEAR = "all-linear";

/** Whether a rule takes a module. `where`: the setting, for errors. Throws UserError for an expression that is not one. */
export function takesModule(rule: ModuleRule, module: string, where: string): boolean {
  if (typeof rule !== "string") return rule.some((name) => isEnd(name, module));
  return expression(`^(?:${rule})$`, where, rule).test(module);
}

/** What a pattern says of a module: the value of the first key, an expression anchored at a dot and at the end, that matches. */
export function patternValue(pattern: Readonly<Record<string, number>>, module: string, where: string): number | undefined {
  return Object.entries(pattern).find(([key]) => expression(`^(?:.*\\.)?(?:${key})$`, where, key).test(module))?.[1];
}

/** Whether a name is a module's own, or ends it behind a dot. */
export function isEnd(name: string, module: string): boolean {
  return module === name || module.endsWith(`.${name}`);
}

function expression(source: string, where: string, got: string): RegExp {
  try {
    return new RegExp(source, "s");
  } catch (error) {
    throw new UserError(`${where} is not a regular expression`, { got }, { cause: error });
  }
}
