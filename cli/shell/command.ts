import { UserError } from "../../core/errors.js";
import type { Environment } from "../../workers/environment.js";

/** One command: `roslin NAME …`. */
export interface Command {
  readonly name: string;
  /** one line for `roslin help` */
  readonly summary: string;
  /** the arguments after `roslin`, such as "stage NAME --config FILE --dir DIR [--json]" */
  readonly usage: string;
  /**
   * Runs the command; resolves to the exit code. Throws UserError for what the user must fix (exit code 2), other errors
   * for the rest (1); an error of node:util's parseArgs is shown with the usage (2). Results go to standard output,
   * everything else to standard error.
   */
  run(args: readonly string[], environment: Environment): Promise<number>;
}

/** Arguments with each negative number joined to its option, so that the command says which numbers it takes: parseArgs takes `--seed -1` for two options. */
export function withNegatives(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const before = joined.at(-1) ?? "";
    if (/^-\.?\d/.test(arg) && /^--\w[\w-]*$/.test(before)) joined[joined.length - 1] = `${before}=${arg}`;
    else joined.push(arg);
  }
  return joined;
}

/** An option's whole number from 1 on. Throws UserError. */
export function wholeNumber(option: string, value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new UserError(`${option} must be a whole number from 1 on`, { got: value });
}

/** The one id that a command takes; `shown` is the command that lists ids. Throws UserError if there is not exactly one. */
export function onlyId(positionals: readonly string[], shown: string): string {
  const [id, ...more] = positionals;
  if (id !== undefined && more.length === 0) return id;
  throw new UserError(`name one id: ${shown} shows the ids`, { got: positionals.length === 0 ? "none" : positionals.join(" ") });
}
