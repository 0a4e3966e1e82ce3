import type { Interruption, Ledger, Proof } from "../../../core/stages/ledger.js";
import { checkpoints, lineOf } from "./checkpoint.js";
import type { CommitLog } from "./commit-log.js";
import { pastOf } from "./past.js";
import type { AttemptSteps, StepLine } from "./steps-file.js";
import type { CheckpointEntry, Past, Span } from "./entries.js";

/** What the ledger reads of a log. */
type Records = Pick<CommitLog, "entries">;

/** Makes the ledger of a run that ends with the checkpoint `commit`. */
export function makeLedger(log: Records, commit: number, steps: readonly AttemptSteps[]): Ledger {
  const line = lineOf(log, commit);
  const final = line[0]!;
  return addUp(spansOf(log, line, steps, commit), seconds(final), final.step, proofOf(log, steps, pastOf(line)));
}

/** The ledger of a run that still trains, or failed: up to its last step. Null before the first attempt. */
export function ledgerSoFar(log: Records, steps: readonly AttemptSteps[]): Ledger | null {
  const last = checkpoints(log).at(-1);
  const line = last === undefined ? [] : lineOf(log, last.commit);
  const spans = spansOf(log, line, steps, log.entries.length + 1);
  const open = spans.pop();
  if (open === undefined) return null;
  // steps of the attempt at work are not lost yet
  const done = steps.find(({ generation }) => generation === open.generation)?.lines.at(-1);
  const end = done === undefined ? open.last : done.time / 1000;
  return addUp([...spans, { ...open, last: end, lost: 0 }], end, done?.step ?? line[0]?.step ?? 0, proofOf(log, steps, pastOf(line)));
}

/** Adds up the parts of a run's time, which ends at `end`, in seconds since 1970. */
function addUp(spans: readonly Span[], end: number, stepsDone: number, proof: Proof): Ledger {
  const interruptions = spans.slice(0, -1).map((span, index) => interruption(span, spans[index + 1]!));
  const sum = (of: readonly Interruption[]): number => of.reduce((total, each) => total + each.seconds, 0);
  const failures = interruptions.filter(({ failure }) => failure);
  return {
    wallSeconds: end - spans[0]!.begun,
    usefulSeconds: spans.reduce((total, { first, last }) => total + last - first, 0),
    startSeconds: spans[0]!.first - spans[0]!.begun,
    saveSeconds: end - spans.at(-1)!.last,
    lostSeconds: sum(failures),
    stoppedSeconds: sum(interruptions.filter(({ failure }) => !failure)),
    steps: stepsDone,
    stepsRepeated: spans.reduce((total, { lost }) => total + lost, 0),
    failures: failures.length,
    interruptions,
    proof,
  };
}

/** The parts of the time of a line and of all attempts before the commit `before`, oldest first. */
export function spansOf(log: Records, line: readonly CheckpointEntry[], steps: readonly AttemptSteps[], before: number): Span[] {
  const generations = attemptsOf(log, before, line, steps);
  const own = generations.map((generation, index) => spanOf(log, generation, generations[index + 1] ?? before, line, steps));
  const past = pastOf(line);
  // attempts here may have come to nothing while the other directory got further
  return past === null ? own : [...past.spans, ...own].sort((a, b) => a.begun - b.begun);
}

/** Every attempt of which anything is left: its own entry in the log may be lost. */
function attemptsOf(log: Records, before: number, line: readonly CheckpointEntry[], steps: readonly AttemptSteps[]): number[] {
  const begun = log.entries.flatMap((entry, index) => (entry.kind === "attempt" ? [index + 1] : []));
  const seen = steps.filter(({ lines }) => lines.length > 0);
  // no attempt of this log made a checkpoint that was taken over
  const made = line.filter(({ past }) => past === undefined);
  const all = [...begun, ...[...made, ...seen].map(({ generation }) => generation)];
  return [...new Set(all)].filter((generation) => generation < before).sort((a, b) => a - b);
}

function spanOf(log: Records, generation: number, next: number, line: readonly CheckpointEntry[], steps: readonly AttemptSteps[]): Span {
  const lines = steps.find((each) => each.generation === generation)?.lines ?? [];
  const kept = line.find((entry) => entry.generation === generation);
  const [head] = lines;
  const entry = log.entries[generation - 1];
  const known =
    head === undefined ? (kept === undefined ? 0 : seconds(kept)) : head.time / 1000 - head.seconds - (head.evaluation?.seconds ?? 0);
  const begun = entry?.kind === "attempt" ? seconds(entry) : known;
  const first = head === undefined ? begun : known;
  const from = entry?.kind === "attempt" ? entry.resumeStep : (head?.step ?? 1) - 1;
  const common = { generation, begun, first, from, ...endOf(log, generation, next) };
  if (kept === undefined) return { ...common, last: first, lost: lines.length };
  const end = lines.find(({ step }) => step === kept.step);
  // a power loss may have taken the line, but not the commit
  const last = end === undefined ? seconds(kept) : end.time / 1000;
  return { ...common, last, lost: lines.filter(({ step }) => step > kept.step).length };
}

/** How an attempt ended, by what was written between it and the next one. */
function endOf(log: Records, generation: number, next: number): Pick<Span, "failure" | "what"> {
  const between = log.entries.slice(generation, next - 1);
  const end = between.find((entry) => entry.kind === "end");
  const damaged = between.flatMap((entry) =>
    entry.kind === "set-aside"
      ? [`the checkpoint in commit ${entry.commit} was damaged`]
      : entry.kind === "lost"
        ? ["a commit was lost"]
        : [],
  );
  const saved = between.findLast((entry) => entry.kind === "checkpoint" && entry.past === undefined) as CheckpointEntry | undefined;
  return {
    failure: damaged.length > 0 || saved?.reason !== "stop",
    what: [end?.what ?? "its end left no word", ...damaged].join("; "),
  };
}

function interruption({ generation, failure, what, last, lost }: Span, next: Span): Interruption {
  return { attempt: generation, failure, what, afterStep: next.from, seconds: next.first - last, stepsLost: lost };
}

function seconds(entry: { readonly time: string }): number {
  return Date.parse(entry.time) / 1000;
}

/** Compares every repetition with the first time on the same kind of machine, in the same directory. */
function proofOf(log: Records, steps: readonly AttemptSteps[], past: Past | null): Proof {
  const seen = new Map<string, StepLine>();
  // what another directory's attempts did was computed in another way, so repetitions here are compared among themselves
  const done = new Set(Array.from({ length: past?.furthest ?? 0 }, (_, index) => index + 1));
  const different = [...(past?.proof.different ?? [])];
  let repeated = past?.proof.repeated ?? 0;
  let equal = past?.proof.equal ?? 0;
  for (const { fingerprint, lines } of steps)
    for (const line of lines) {
      if (done.has(line.step)) repeated++;
      done.add(line.step);
      const key = `${line.step} ${JSON.stringify(fingerprint)}`;
      const before = seen.get(key);
      if (before === undefined) seen.set(key, line);
      else if (isSame(before, line)) equal++;
      else different.push(line.step);
    }
  const again = log.entries.flatMap((entry) => (entry.kind === "set-aside" ? remade(log, entry.commit) : []));
  return {
    repeated,
    equal,
    different,
    checkpoints: again.length + (past?.proof.checkpoints ?? 0),
    checkpointsEqual: again.filter(Boolean).length + (past?.proof.checkpointsEqual ?? 0),
  };
}

/** Whether a step came to the same twice; the test rows may have been computed at other steps. */
function isSame(one: StepLine, other: StepLine): boolean {
  const [before, after] = [one.evaluation?.loss, other.evaluation?.loss];
  const evaluated = before === undefined || after === undefined || before === after;
  return one.loss === other.loss && one.norm === other.norm && evaluated;
}

/** For a checkpoint that was set aside: whether the next one of its step, on the same kind of machine, has the same digests; none: nothing. */
function remade(log: Records, commit: number): boolean[] {
  const before = log.entries[commit - 1];
  if (before?.kind !== "checkpoint" || before.past !== undefined) return [];
  const kind = JSON.stringify(before.fingerprint);
  const after = log.entries
    .slice(commit)
    .find(
      (entry) =>
        entry.kind === "checkpoint" && entry.past === undefined && entry.step === before.step && JSON.stringify(entry.fingerprint) === kind,
    );
  if (after?.kind !== "checkpoint") return [];
  return [before.shards.every(({ sha256 }, shard) => after.shards[shard]?.sha256 === sha256)];
}
