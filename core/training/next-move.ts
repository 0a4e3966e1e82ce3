/** What follows the end of an attempt at training: one rule for `roslin stage train` and for the workflow. */

/** What a failure means: "fatal" ends the run, an "error" may not repeat often, a "lost" process may. */
export type Verdict = "fatal" | "error" | "lost";

/** How many attempts in a row may end in this way without a new checkpoint. A killed process does not show a mistake; an error does. */
const LIMITS: Readonly<Record<Verdict, number>> = { fatal: 1, error: 3, lost: 20 };

/** No wait between two attempts is longer; it doubles from one second on. */
const MAX_WAIT_SECONDS = 30;

/** The attempts in a row that failed and came to no new checkpoint, by what ended them. */
export interface Tally {
  readonly error: number;
  readonly lost: number;
  /** steps done at the newest checkpoint that an attempt has begun from; -1 before the first attempt */
  readonly reached: number;
}

/** The tally of a run that has not begun. */
export const NO_ATTEMPTS: Tally = { error: 0, lost: 0, reached: -1 };

/** How an attempt ended; "asked": a worker was stopped or paused; "planned": at a checkpoint, because more workers are there. */
export interface AttemptEnd {
  /** steps done at the checkpoint that it began from */
  readonly resumeStep: number;
  readonly how: Verdict | "asked" | "planned";
}

/** What to do next. `attempts`: how many in a row ended in the same way without a new checkpoint. */
export type NextMove =
  | { readonly kind: "go on"; readonly waitSeconds: number; readonly tally: Tally }
  | { readonly kind: "give up"; readonly attempts: number };

/** Says whether another attempt follows, and after how many seconds; an attempt that began from a new checkpoint starts the counts anew. */
export function nextMove(before: Tally, { resumeStep, how }: AttemptEnd): NextMove {
  const counts = resumeStep > before.reached ? { error: 0, lost: 0 } : { error: before.error, lost: before.lost };
  const reached = Math.max(before.reached, resumeStep);
  if (how === "planned" || how === "asked") return { kind: "go on", waitSeconds: 0, tally: { ...counts, reached } };
  const attempts = how === "fatal" ? 1 : counts[how] + 1;
  if (attempts >= LIMITS[how]) return { kind: "give up", attempts };
  const tally = { ...counts, [how]: attempts, reached };
  const fruitless = tally.error + tally.lost;
  return { kind: "go on", waitSeconds: fruitless > 1 ? Math.min(2 ** (fruitless - 2), MAX_WAIT_SECONDS) : 0, tally };
}

/** Why training is given up. */
export function givenUpBecause(attempts: number, resumeStep: number, last: string): string {
  return `training was lost ${attempts} times after step ${resumeStep} without coming to a checkpoint: ${last}`;
}
