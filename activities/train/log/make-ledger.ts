import type { Interruption, Ledger, Proof } from "../../../core/stages/ledger.js";
import { lineOf } from "./checkpoint.js";
import type { CommitLog } from "./commit-log.js";
import type { AttemptSteps, StepLine } from "./steps-file.js";
import type { CheckpointEntry } from "./entries.js";

/** An attempt's part of the time, in seconds since 1970. */
interface Span {
  readonly generation: number;
  readonly begun: number;
  /** when its first step began, or, where it came to none, when it did */
  readonly first: number;
  /** when the last step ended that was kept; `first` where none was */
  readonly last: number;
  /** steps done before it */
  readonly from: number;
  /** steps beyond the last one that was kept */
  readonly lost: number;
}

/** Makes the ledger of a run that ends with the checkpoint `commit`. */
export function makeLedger(log: CommitLog, commit: number, steps: readonly AttemptSteps[]): Ledger {
  const line = lineOf(log, commit);
  const final = line[0]!;
  const spans = attemptsOf(log, commit, line, steps).map((generation) => spanOf(log, generation, line, steps));
  const end = seconds(final);
  const interruptions = spans.slice(0, -1).map((span, index) => interruption(log, span, spans[index + 1]!));
  const sum = (of: readonly Interruption[]): number => of.reduce((total, each) => total + each.seconds, 0);
  const failures = interruptions.filter(({ failure }) => failure);
  return {
    wallSeconds: end - spans[0]!.begun,
    usefulSeconds: spans.reduce((total, { first, last }) => total + last - first, 0),
    startSeconds: spans[0]!.first - spans[0]!.begun,
    saveSeconds: end - spans.at(-1)!.last,
    lostSeconds: sum(failures),
    stoppedSeconds: sum(interruptions.filter(({ failure }) => !failure)),
    steps: final.step,
    stepsRepeated: spans.reduce((total, { lost }) => total + lost, 0),
    failures: failures.length,
    interruptions,
    proof: proofOf(log, steps),
  };
}

/** Every attempt of which anything is left: its own entry in the log may be lost. */
function attemptsOf(log: CommitLog, commit: number, line: readonly CheckpointEntry[], steps: readonly AttemptSteps[]): number[] {
  const begun = log.entries.flatMap((entry, index) => (entry.kind === "attempt" ? [index + 1] : []));
  const seen = steps.filter(({ lines }) => lines.length > 0);
  const all = [...begun, ...[...line, ...seen].map(({ generation }) => generation)];
  return [...new Set(all)].filter((generation) => generation < commit).sort((a, b) => a - b);
}

function spanOf(log: CommitLog, generation: number, line: readonly CheckpointEntry[], steps: readonly AttemptSteps[]): Span {
  const lines = steps.find((each) => each.generation === generation)?.lines ?? [];
  const kept = line.find((entry) => entry.generation === generation);
  const [head] = lines;
  const entry = log.entries[generation - 1];
  const known = head === undefined ? (kept === undefined ? 0 : seconds(kept)) : head.time / 1000 - head.seconds;
  const begun = entry?.kind === "attempt" ? seconds(entry) : known;
  const first = head === undefined ? begun : known;
  const from = entry?.kind === "attempt" ? entry.resumeStep : (head?.step ?? 1) - 1;
  const common = { generation, begun, first, from };
  if (kept === undefined) return { ...common, last: first, lost: lines.length };
  const end = lines.find(({ step }) => step === kept.step);
  // a power loss may have taken the line, but not the commit
  const last = end === undefined ? seconds(kept) : end.time / 1000;
  return { ...common, last, lost: lines.filter(({ step }) => step > kept.step).length };
}

function interruption(log: CommitLog, span: Span, next: Span): Interruption {
  const between = log.entries.slice(span.generation, next.generation - 1);
  const end = between.find((entry) => entry.kind === "end");
  const damaged = between.flatMap((entry) =>
    entry.kind === "set-aside"
      ? [`the checkpoint in commit ${entry.commit} was damaged`]
      : entry.kind === "lost"
        ? ["a commit was lost"]
        : [],
  );
  const saved = between.findLast((entry) => entry.kind === "checkpoint");
  return {
    attempt: span.generation,
    failure: damaged.length > 0 || saved?.reason !== "stop",
    what: [end?.what ?? "its end left no word", ...damaged].join("; "),
    afterStep: next.from,
    seconds: next.first - span.last,
    stepsLost: span.lost,
  };
}

function seconds(entry: { readonly time: string }): number {
  return Date.parse(entry.time) / 1000;
}

/** Compares every repetition with the first time on the same kind of machine. */
function proofOf(log: CommitLog, steps: readonly AttemptSteps[]): Proof {
  const seen = new Map<string, StepLine>();
  const done = new Set<number>();
  const different: number[] = [];
  let repeated = 0;
  let equal = 0;
  for (const { fingerprint, lines } of steps)
    for (const line of lines) {
      if (done.has(line.step)) repeated++;
      done.add(line.step);
      const key = `${line.step} ${JSON.stringify(fingerprint)}`;
      const before = seen.get(key);
      if (before === undefined) seen.set(key, line);
      else if (before.loss === line.loss && before.norm === line.norm) equal++;
      else different.push(line.step);
    }
  const again = log.entries.flatMap((entry) => (entry.kind === "set-aside" ? remade(log, entry.commit) : []));
  return {
    repeated,
    equal,
    different,
    checkpoints: again.length,
    checkpointsEqual: again.filter(Boolean).length,
  };
}

/** For a checkpoint that was set aside: whether the next one of its step, on the same kind of machine, has the same digests; none: nothing. */
function remade(log: CommitLog, commit: number): boolean[] {
  const before = log.entries[commit - 1];
  if (before?.kind !== "checkpoint") return [];
  const kind = JSON.stringify(before.fingerprint);
  const after = log.entries
    .slice(commit)
    .find((entry) => entry.kind === "checkpoint" && entry.step === before.step && JSON.stringify(entry.fingerprint) === kind);
  if (after?.kind !== "checkpoint") return [];
  return [before.shards.every(({ sha256 }, shard) => after.shards[shard]?.sha256 === sha256)];
}
