import { count, duration, percent } from "../../../core/units.js";
import type { Ledger, LedgerTimes } from "../../../core/stages/ledger.js";

/** The ledger in words, for terminal, UI and model card. */

/** What part of the time counted. */
export function goodput({ usefulSeconds, wallSeconds }: LedgerTimes): number {
  return usefulSeconds / wallSeconds;
}

/** Where the time went, in one line. */
export function timeLine(ledger: LedgerTimes): string {
  const { wallSeconds, usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds, failures, steps, stepsRepeated } = ledger;
  const parts = [
    `${duration(usefulSeconds)} for ${count(steps, "step")} that counted`,
    `${duration(startSeconds)} until the first`,
    `${duration(saveSeconds)} to save the last`,
    ...(failures > 0
      ? [`${duration(lostSeconds)} lost to ${count(failures, "failure")}, with ${count(stepsRepeated, "step")} done again`]
      : []),
    ...(stoppedSeconds > 0 ? [`${duration(stoppedSeconds)} between stops that had saved and what came next`] : []),
  ];
  return `${percent(goodput(ledger))} useful of ${duration(wallSeconds)}: ${parts.join(", ")}`;
}

/** Faults survived, and whether what was done twice came out the same; only what was compared is claimed. */
export function proofLine({ failures, proof }: Ledger): string {
  const { repeated, equal, different, checkpoints, checkpointsEqual } = proof;
  const others = repeated - equal - different.length;
  return [
    failures === 0 ? "no failure" : `${count(failures, "failure")} survived`,
    ...(repeated === 0
      ? ["no step was done twice"]
      : [`of ${count(repeated, "repeated step")} ${equal} gave the same loss and gradient norm to the last bit`]),
    ...(others > 0 ? [`${others} ran on another kind of machine or engine than before, which proves nothing`] : []),
    ...(checkpoints > 0 ? [`of ${count(checkpoints, "checkpoint")} made again ${checkpointsEqual} have the same SHA-256`] : []),
    ...(isProved(proof) ? [] : [`WARNING: ${differences(proof)}`]),
  ].join("; ");
}

/** Whether nothing differed that was compared. */
export function isProved({ different, checkpoints, checkpointsEqual }: Ledger["proof"]): boolean {
  return different.length === 0 && checkpoints === checkpointsEqual;
}

/** What to think of repetitions that differed. */
export function differences({ different, checkpoints, checkpointsEqual }: Ledger["proof"]): string {
  const what = [
    ...(different.length > 0
      ? [`step ${[...new Set(different)].join(", ")} gave another loss or gradient norm when it was done again`]
      : []),
    ...(checkpoints > checkpointsEqual
      ? [`${count(checkpoints - checkpointsEqual, "checkpoint")} came out otherwise when made again`]
      : []),
  ];
  return `${what.join(", and ")} on the same kind of machine: its memory or processor may be faulty, and equal bytes are not proved`;
}
