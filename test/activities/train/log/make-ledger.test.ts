import assert from "node:assert/strict";
import { test } from "node:test";
import { ledgerSoFar, makeLedger } from "../../../../activities/train/log/make-ledger.js";
import { goodput, isProved, proofLine, timeLine } from "../../../../activities/train/log/ledger-words.js";
import type { CommitLog } from "../../../../activities/train/log/commit-log.js";
import type { AttemptSteps, StepLine } from "../../../../activities/train/log/steps-file.js";
import type { CheckpointEntry, Fingerprint, LogEntry, Past, Span } from "../../../../activities/train/log/entries.js";

/** Records of a run by hand: seconds after a full minute. */

const at = (second: number): string => new Date(60_000 + second * 1000).toISOString();
const here: Fingerprint = { platform: "p", cpu: "c", node: "n", onnxruntime: "o", threadsPerRank: 1 };
const shards = [{ shard: 0, file: "f", sha256: "a", bytes: 1 }];

type Unsigned<E> = E extends LogEntry ? Omit<E, "nonce" | "time"> : never;

function log(...entries: readonly [second: number, entry: Unsigned<LogEntry>][]): CommitLog {
  return {
    entries: entries.map(([second, entry]) => ({ ...entry, nonce: "", time: at(second) })),
    overtaken: false,
    append: async () => assert.fail("the ledger only reads"),
  };
}

const attempt = (resumeFrom: number | null, resumeStep: number) => ({ kind: "attempt", workers: 1, resumeFrom, resumeStep }) as const;
const checkpoint = (
  generation: number,
  step: number,
  parent: number | null,
  more: Partial<Pick<CheckpointEntry, "reason" | "fingerprint" | "shards">> = {},
) =>
  ({
    kind: "checkpoint",
    generation,
    step,
    updates: step,
    reason: "interval",
    parent,
    fingerprint: here,
    shards,
    steps: [],
    ...more,
  }) as const;
const end = (generation: number, what: string) => ({ kind: "end", generation, what, message: null, lost: [], poison: null }) as const;

/** Steps of one second each; `odd` changes the norm of one. */
function steps(generation: number, from: number, to: number, firstEnds: number, odd = -1, fingerprint = here): AttemptSteps {
  const lines = Array.from({ length: to - from + 1 }, (_, index): StepLine => {
    const step = from + index;
    return { step, loss: 1 / step, norm: step === odd ? 7 : 0.1 + step, seconds: 1, time: 60_000 + (firstEnds + index) * 1000 };
  });
  return { generation, fingerprint, lines };
}

/** Ten steps: a worker dies after the sixth, the second attempt at its start, the third is asked to stop after the eighth. */
const eventful = log(
  [0, attempt(null, 0)],
  [7, checkpoint(1, 4, null)],
  [12, end(1, "worker 0 of 2 died after 6 steps")],
  [13, attempt(2, 4)],
  [20, end(4, "all 2 workers died at once")],
  [21, attempt(2, 4)],
  [29, checkpoint(6, 8, 2, { reason: "stop" })],
  [30, end(6, "stopped on request")],
  [90, attempt(7, 8)],
  [97, checkpoint(9, 10, 7, { reason: "finish" })],
);

test("the parts of a run's time add up to it, and each failure has its seconds and steps", () => {
  const ledger = makeLedger(eventful, 10, [steps(1, 1, 6, 3), steps(6, 5, 8, 25), steps(9, 9, 10, 95)]);
  const { interruptions, proof, ...sums } = ledger;
  assert.deepEqual(sums, {
    wallSeconds: 97,
    usefulSeconds: 10,
    startSeconds: 2,
    saveSeconds: 1,
    lostSeconds: 18,
    stoppedSeconds: 66,
    steps: 10,
    stepsRepeated: 2,
    failures: 2,
  });
  const { wallSeconds, usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds } = ledger;
  assert.equal(usefulSeconds + startSeconds + saveSeconds + lostSeconds + stoppedSeconds, wallSeconds);
  assert.deepEqual(interruptions, [
    { attempt: 1, failure: true, what: "worker 0 of 2 died after 6 steps", afterStep: 4, seconds: 7, stepsLost: 2 },
    { attempt: 4, failure: true, what: "all 2 workers died at once", afterStep: 4, seconds: 11, stepsLost: 0 },
    { attempt: 6, failure: false, what: "stopped on request", afterStep: 8, seconds: 66, stepsLost: 0 },
  ]);
  assert.deepEqual(proof, { repeated: 2, equal: 2, different: [], checkpoints: 0, checkpointsEqual: 0 });
  assert.equal(goodput(ledger), 10 / 97);
  assert.equal(
    timeLine(ledger),
    "10.3 % useful of 1 min 37 s: 10 s for 10 steps that counted, 2 s until the first, 1 s to save the last, 18 s lost to 2 failures, with 2 steps done again, 1 min 6 s between stops that had saved and what came next",
  );
  assert.equal(proofLine(ledger), "2 failures survived; of 2 repeated steps 2 gave the same loss and gradient norm to the last bit");
});

test("a repetition that differs is said loudly; on another kind of machine it proves nothing", () => {
  const differs = makeLedger(eventful, 10, [steps(1, 1, 6, 3), steps(6, 5, 8, 25, 6), steps(9, 9, 10, 95)]);
  assert.deepEqual(differs.proof, { repeated: 2, equal: 1, different: [6], checkpoints: 0, checkpointsEqual: 0 });
  assert.equal(isProved(differs.proof), false);
  assert.match(proofLine(differs), /WARNING: step 6 gave another loss or gradient norm when it was done again on the same kind of machine/);
  const elsewhere = { ...here, cpu: "another" };
  const moved = makeLedger(eventful, 10, [steps(1, 1, 6, 3), steps(6, 5, 8, 25, 6, elsewhere), steps(9, 9, 10, 95)]);
  assert.deepEqual(moved.proof, { repeated: 2, equal: 0, different: [], checkpoints: 0, checkpointsEqual: 0 });
  assert.match(
    proofLine(moved),
    /of 2 repeated steps 0 gave .*; 2 ran on another kind of machine or engine than before, which proves nothing$/,
  );
});

test("a damaged checkpoint that was made again is compared by its digests", () => {
  const damaged = (sha256: string) =>
    log(
      [0, attempt(null, 0)],
      [5, checkpoint(1, 2, null)],
      [7, checkpoint(1, 4, 2)],
      [9, { kind: "set-aside", commit: 3, reason: "a digest" }],
      [9, attempt(2, 2)],
      [15, checkpoint(5, 4, 2, { reason: "finish", shards: [{ ...shards[0]!, sha256 }] })],
    );
  const files = [steps(1, 1, 4, 2), steps(5, 3, 4, 13)];
  const same = makeLedger(damaged("a"), 6, files);
  assert.deepEqual(same.interruptions, [
    {
      attempt: 1,
      failure: true,
      what: "its end left no word; the checkpoint in commit 3 was damaged",
      afterStep: 2,
      seconds: 9,
      stepsLost: 2,
    },
  ]);
  assert.deepEqual([same.proof.checkpoints, same.proof.checkpointsEqual, isProved(same.proof)], [1, 1, true]);
  const other = makeLedger(damaged("b"), 6, files);
  assert.deepEqual([other.proof.checkpointsEqual, isProved(other.proof)], [0, false]);
});

test("where a power loss took the lines of steps, commits say when they ended", () => {
  const ledger = makeLedger(eventful, 10, [steps(1, 1, 3, 3), steps(9, 9, 10, 95)]);
  assert.equal(ledger.interruptions[0]!.seconds, 6);
  const { wallSeconds, usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds } = ledger;
  assert.equal(usefulSeconds + startSeconds + saveSeconds + lostSeconds + stoppedSeconds, wallSeconds);
});

test("a ledger is made of what a damaged log has left", () => {
  const { entries, ...rest } = eventful;
  const without = (...lost: readonly number[]) => ({
    ...rest,
    entries: entries.map((entry, index) => (lost.includes(index + 1) ? ({ kind: "lost", reason: "it is gone" } as const) : entry)),
  });
  const files = [steps(1, 1, 6, 3), steps(6, 5, 8, 25), steps(9, 9, 10, 95)];
  for (const lost of [[1], [2], [3], [6], [7], [9], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
    for (const left of [files, files.slice(1), []]) {
      const ledger = makeLedger(without(...lost), 10, left);
      const { wallSeconds, usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds } = ledger;
      assert.equal(usefulSeconds + startSeconds + saveSeconds + lostSeconds + stoppedSeconds, wallSeconds, `without ${lost.join(", ")}`);
    }
});

test("what was taken over from another directory counts, and nothing is compared across it", () => {
  const span = (generation: number, begun: number, first: number, last: number, more: Partial<Span>): Span => ({
    generation,
    begun: 60 + begun,
    first: 60 + first,
    last: 60 + last,
    from: 0,
    lost: 0,
    failure: true,
    what: "all was killed",
    ...more,
  });
  const past: Past = {
    directory: "0123456789abcdef",
    commit: 4,
    computed: [{ steps: 4, by: { engine: "onnx" } }],
    spans: [span(1, 0, 2, 4, { lost: 1 }), span(3, 10, 11, 13, { from: 2, lost: 2 }), span(9, 40, 41, 41, { from: 4, lost: 1 })],
    proof: { repeated: 1, equal: 1, different: [], checkpoints: 1, checkpointsEqual: 1 },
    furthest: 6,
  };
  // an attempt that came to nothing, while the other directory got no further
  const entries = log(
    [30, { ...checkpoint(0, 4, null), past }],
    [31, attempt(1, 4)],
    [36, end(2, "worker 0 of 1 died after 5 steps")],
    [50, attempt(1, 4)],
    [59, checkpoint(4, 8, 1, { reason: "finish" })],
  );
  const ledger = makeLedger(entries, 5, [steps(2, 5, 5, 34), steps(4, 5, 8, 53)]);
  const { interruptions, proof, ...sums } = ledger;
  assert.deepEqual(sums, {
    wallSeconds: 59,
    usefulSeconds: 8,
    startSeconds: 2,
    saveSeconds: 3,
    lostSeconds: 46,
    stoppedSeconds: 0,
    steps: 8,
    stepsRepeated: 5,
    failures: 4,
  });
  assert.deepEqual(
    interruptions.map(({ attempt, afterStep, seconds, stepsLost }) => [attempt, afterStep, seconds, stepsLost]),
    [
      [1, 2, 7, 1],
      [3, 4, 20, 2],
      [2, 4, 8, 1],
      [9, 4, 11, 1],
    ],
  );
  // 5 twice and 6, of which the second 5 alone has an earlier one of its own engine
  assert.deepEqual(proof, { repeated: 4, equal: 2, different: [], checkpoints: 1, checkpointsEqual: 1 });
  assert.match(proofLine(ledger), /; 2 ran on another kind of machine or engine than before, which proves nothing; of 1 checkpoint/);
});

test("a taken checkpoint that is made again is not compared with itself", () => {
  const past = { spans: [], proof: { repeated: 0, equal: 0, different: [], checkpoints: 0, checkpointsEqual: 0 } } as unknown as Past;
  const entries = log(
    [0, { ...checkpoint(0, 4, null), past }],
    [1, { kind: "set-aside", commit: 1, reason: "a digest" }],
    [2, attempt(null, 0)],
    [9, checkpoint(3, 4, null, { reason: "finish", shards: [{ ...shards[0]!, sha256: "b" }] })],
  );
  const { proof } = makeLedger(entries, 4, [steps(3, 1, 4, 4)]);
  assert.deepEqual([proof.checkpoints, isProved(proof)], [0, true]);
});

test("of a run that still trains the steps of the attempt at work count, and the time ends with the last of them", () => {
  const records = log(
    [0, attempt(null, 0)],
    [7, checkpoint(1, 4, null)],
    [12, end(1, "worker 0 of 2 died after 6 steps")],
    [13, attempt(2, 4)],
  );
  const ledger = ledgerSoFar(records, [steps(1, 1, 6, 2), steps(4, 5, 7, 16)])!;
  assert.equal(ledger.steps, 7);
  assert.deepEqual(
    ledger.interruptions.map(({ what, afterStep, seconds, stepsLost }) => [what, afterStep, seconds, stepsLost]),
    [["worker 0 of 2 died after 6 steps", 4, 10, 2]],
  );
  assert.deepEqual(
    [ledger.wallSeconds, ledger.startSeconds, ledger.usefulSeconds, ledger.lostSeconds, ledger.saveSeconds],
    [18, 1, 7, 10, 0],
  );
  assert.equal(ledgerSoFar(log(), []), null);
  assert.equal(ledgerSoFar(log([0, attempt(null, 0)]), [])!.wallSeconds, 0);
});
