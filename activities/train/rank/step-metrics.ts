import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { messageOf } from "../../../core/errors.js";
import { outputNamed } from "../../../core/stages/results.js";
import { metricsLine, type MetricsRun } from "../../../core/training/metrics-line.js";
import type { StepEnd } from "../../../engines/engine.js";
import { Exporter } from "../../../infra/process/exporter.js";
import { committedLines, metricsRun } from "../log/committed-lines.js";
import type { CommitLog } from "../log/commit-log.js";
import type { TrainAttempt } from "../log/entries.js";
import { bringMetrics, METRICS, MetricsFiles } from "../log/metrics-files.js";
import { readSteps } from "../log/steps-file.js";
import type { TrainingPlace } from "../log/training-place.js";

/** What others are told of an attempt's steps while it trains. Nothing here ends an attempt: what fails is said. */

/** How long the metrics command may take after an attempt's end. */
const GRACE_MS = 30_000;
/** The same after the last step: what it has not sent by then is sent by nobody. */
const LAST_GRACE_MS = 300_000;

/** How many steps may end before the files are there. */
const MOST_WAITING = 10_000;
/** How long an attempt's end waits for a store that has not given what earlier attempts left. */
const CLOSE_MS = 5000;

/** A step that has ended; `time` in milliseconds since 1970. */
interface Step extends StepEnd {
  readonly time: number;
}

/** What an attempt's metrics are made of. */
export interface StepMetricsOptions {
  readonly attempt: TrainAttempt;
  readonly log: CommitLog;
  readonly place: TrainingPlace;
  /** a shell's line; null: there is no such program */
  readonly command: string | null;
  /** tells the user */
  readonly say: (note: string) => void;
  /** the command calls the run otherwise than the log says */
  readonly named: (runId: string) => void;
}

/** An attempt's metrics: files in the stage's directory, and the user's command. */
export class StepMetrics {
  private readonly options: StepMetricsOptions;
  private run: MetricsRun | null = null;
  private files: MetricsFiles | null = null;
  private exporter: Exporter | null = null;
  private begun: Promise<void> = Promise.resolve();
  private closed = false;
  /** the files are being brought: the end waits for it */
  private bringing = false;
  /** steps for the files once they are there; null: they never will be in this attempt */
  private waiting: Step[] | null = [];

  constructor(options: StepMetricsOptions) {
    this.options = options;
  }

  /** Begins to bring the files to the checkpoint that the attempt goes on from, and starts the command then. Nothing waits for it. */
  begin(): void {
    this.begun = this.open().catch((error: unknown) => this.giveUp(messageOf(error)));
  }

  /** A step has ended; `time` in milliseconds since 1970. */
  add({ stepsDone, record }: StepEnd, time: number): void {
    if (record.evaluation?.loss === null) this.options.say(`the loss on the test rows is not finite after ${stepsDone} steps`);
    if (this.files !== null) return this.write({ stepsDone, record, time });
    this.waiting?.push({ stepsDone, record, time });
    if (this.waiting?.length === MOST_WAITING) this.giveUp(`the store has not given what earlier attempts left for ${MOST_WAITING} steps`);
  }

  /** The files get what they lack, unless the store takes longer than `CLOSE_MS`. `finished`: the last step is committed. */
  async close(finished: boolean): Promise<void> {
    const patience = new AbortController();
    await Promise.race([this.begun, sleep(CLOSE_MS, undefined, { signal: patience.signal }).catch(() => undefined)]);
    patience.abort();
    this.closed = true;
    // what it writes is to be written before others write
    if (this.bringing) await this.begun;
    this.exporter?.close(finished);
    this.files?.close();
    this.files = null;
  }

  private async open(): Promise<void> {
    const { attempt, log, place } = this.options;
    const { config, directory, generation, inputs, resumeFrom, totalSteps } = attempt;
    await place.bringSteps();
    const { entries } = await place.log();
    // what this attempt knows is old where a newer one has begun: the files are that one's
    if (entries.findLastIndex(({ kind }) => kind === "attempt") >= generation) this.waiting = null;
    if (this.closed || this.waiting === null) return;
    this.bringing = true;
    const run = metricsRun(config.train, fileURLToPath(outputNamed(inputs, "tokens").uri), totalSteps);
    await bringMetrics(directory, committedLines(run, log, resumeFrom, await readSteps(directory)));
    // too many steps may have ended meanwhile
    const waiting = this.waiting as Step[] | null;
    if (waiting === null) return;
    this.files = new MetricsFiles(directory);
    this.run = run;
    for (const step of waiting.splice(0)) this.write(step);
    this.startCommand();
  }

  private write({ stepsDone: step, record, time }: Step): void {
    const { generation } = this.options.attempt;
    this.files!.add(metricsLine(this.run!, record, { step, generation, time: time / 1000 }));
  }

  private giveUp(why: string): void {
    this.waiting = null;
    this.options.say(`${METRICS} is not written in this attempt: ${why}`);
  }

  private startCommand(): void {
    const { attempt, log, command, say, named } = this.options;
    const { directory, generation, resumeStep, totalSteps, config } = attempt;
    if (command === null) return;
    const entry = log.entries.findLast(({ kind }) => kind === "exporter");
    const runId = entry?.kind === "exporter" ? entry.runId : null;
    const head = { name: `roslin-${basename(directory)}`, runId, generation, resumedStep: resumeStep, totalSteps, settings: config };
    const inDirectory = (name: string): string => join(directory, name);
    const errorFile = inDirectory("exporter.log");
    const kept = { processFile: inDirectory("exporter.pid"), runFile: inDirectory("exporter.run"), errorFile };
    this.exporter = new Exporter(
      { command, file: inDirectory(METRICS), head, ...kept, graceMs: GRACE_MS, lastGraceMs: LAST_GRACE_MS },
      {
        named: (id) => {
          if (id !== runId) named(id);
        },
        ended: (how) => say(`ROSLIN_METRICS_COMMAND has ended (${how}); training goes on. ${errorFile} has what it printed`),
        noted: say,
      },
    );
  }
}
