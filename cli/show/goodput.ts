import { timeLine } from "../../activities/train/log/ledger-words.js";
import type { SentResult } from "../../core/stages/results.js";

/** Lines about a finished training: its useful time, what failures cost, and what was compared; none for other stages. */
export function goodputLines(result: SentResult): string[] {
  if (result.stage !== "train") return [];
  const { ledger, proof } = result.metrics;
  // a stage that an earlier version finished has none
  if (ledger === undefined || proof === undefined) return [];
  const times = {
    wallSeconds: Number(ledger.wallSeconds),
    usefulSeconds: Number(ledger.usefulSeconds),
    startSeconds: Number(ledger.startSeconds),
    saveSeconds: Number(ledger.saveSeconds),
    lostSeconds: Number(ledger.lostSeconds),
    stoppedSeconds: Number(ledger.stoppedSeconds),
    steps: Number(ledger.steps),
    stepsRepeated: Number(ledger.stepsRepeated),
    failures: Number(ledger.failures),
  };
  return [`Goodput     of training: ${timeLine(times)}`, `Proof       ${proof}`];
}
