import { closeSync, existsSync, ftruncateSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileHead, restart, scalars, shownSteps, wholeRecords } from "../../../core/format/event-file.js";
import type { MetricsLine } from "../../../core/training/metrics-line.js";
import { appendWhole } from "../../../infra/disk/append-whole.js";
import { writeFileAtomic } from "../../../infra/disk/files.js";
import { readLines } from "../../../infra/disk/line-journal.js";

/**
 * The curve of a training as others read it, while it trains too: `metrics.jsonl`, and one event file for TensorBoard. Both
 * are copies: what they say of committed steps is in the commit log and in the records of steps, from which they are made anew.
 */

/** The file of lines, in the stage's directory: each step once. */
export const METRICS = "metrics.jsonl";
/** The directory for TensorBoard, in the stage's directory. */
export const TENSORBOARD = "tensorboard";
/** One file a run: of several, TensorBoard's Python reader never looks at the first ones again. */
export const EVENTS = join(TENSORBOARD, "events.out.tfevents.0000000000.roslin");

const TAGS = {
  loss: "train/loss",
  gradientNorm: "train/gradient_norm",
  learningRate: "train/learning_rate",
  tokensPerSecond: "train/tokens_per_second",
  evalLoss: "eval/loss",
} as const;

/**
 * Brings both files to the steps that are committed: `metrics.jsonl` is written anew, and the event file grows by what it
 * lacks, because TensorBoard may be reading it; readers are told to forget the steps beyond. Where an attempt that was
 * overtaken has written into it too, all steps are written again.
 */
export async function bringMetrics(directory: string, committed: readonly MetricsLine[]): Promise<void> {
  const path = join(directory, METRICS);
  const written = await readLines<MetricsLine>(path);
  const events = join(directory, EVENTS);
  const time = Date.now() / 1000;
  if (existsSync(events)) {
    const different = committed.findIndex((line, index) => !isSame(line, written[index]));
    const same = different < 0 ? committed.length : different;
    const end = (committed[same - 1]?.step ?? 0) + 1;
    const shown = shownSteps(readFileSync(events)).filter((step) => step < end);
    const known = isSteps(shown, committed.slice(0, same)) ? same : 0;
    const last = committed[known - 1]?.step ?? 0;
    appendEvents(events, [restart(time, last + 1), ...committed.slice(known).map(eventOf)]);
  } else await writeFileAtomic(events, Buffer.concat([fileHead(time), ...committed.map(eventOf)]));
  await writeFileAtomic(path, committed.map(textOf).join(""));
}

/** Whether both files have all committed steps, and none beyond. */
export async function hasMetrics(directory: string, committed: readonly MetricsLine[]): Promise<boolean> {
  const written = await readLines<MetricsLine>(join(directory, METRICS));
  const same = written.length === committed.length && committed.every((line, index) => isSame(line, written[index]));
  const events = join(directory, EVENTS);
  return same && existsSync(events) && isSteps(shownSteps(readFileSync(events)), committed);
}

/** Whether readers of the event file show the steps of these lines, each once. */
function isSteps(shown: readonly number[], lines: readonly MetricsLine[]): boolean {
  return shown.length === lines.length && lines.every(({ step }, index) => step === shown[index]);
}

/** What is compared are the results: times differ where a step was computed again. */
function isSame(line: MetricsLine, other: MetricsLine | undefined): boolean {
  return (["step", "loss", "gradientNorm", "evalLoss", "generation"] as const).every((name) => line[name] === other?.[name]);
}

/** Adds whole records after those that are there. */
function appendEvents(path: string, records: readonly Uint8Array[]): void {
  const file = openSync(path, "a");
  try {
    ftruncateSync(file, wholeRecords(readFileSync(path)));
    appendWhole(file, Buffer.concat(records));
  } finally {
    closeSync(file);
  }
}

function eventOf(line: MetricsLine): Uint8Array {
  const values = Object.entries(TAGS).flatMap(([name, tag]) => {
    const value = line[name as keyof typeof TAGS];
    return value == null ? [] : [[tag, value] as const];
  });
  return scalars(line.time, line.step, Object.fromEntries(values));
}

function textOf(line: MetricsLine): string {
  return `${JSON.stringify(line)}\n`;
}

/** Both files, as the coordinator adds to them step by step; the event file first, so that it never lacks what the other has. */
export class MetricsFiles {
  private readonly events: number;
  private readonly lines: number;

  /** Both files are there: `bringMetrics` has made them. */
  constructor(directory: string) {
    this.events = openSync(join(directory, EVENTS), "a");
    this.lines = openSync(join(directory, METRICS), "a");
  }

  add(line: MetricsLine): void {
    try {
      appendWhole(this.events, eventOf(line));
      appendWhole(this.lines, Buffer.from(textOf(line)));
    } catch {
      // a full disk: the records of steps and the commit log have it, and the next attempt adds it
    }
  }

  close(): void {
    closeSync(this.events);
    closeSync(this.lines);
  }
}
