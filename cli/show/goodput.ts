import { timeLine } from "../../activities/train/log/ledger-words.js";
import type { Ledger } from "../../activities/train/log/ledger.js";
import type { StageResult } from "../../core/stages/stage.js";

/** Lines about a finished training: its useful time, what failures cost, and what was compared; none for other stages. */
export function goodputLines({ metrics }: StageResult): string[] {
  const ledger = metrics["ledger"] as Ledger | undefined;
  // a stage that an earlier version finished has none
  if (ledger === undefined) return [];
  return [`Goodput     of training: ${timeLine(ledger)}`, `Proof       ${String(metrics["proof"])}`];
}
