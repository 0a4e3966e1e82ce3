import { basename, join } from "node:path";
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

  constructor(options: StepMetricsOptions) {
    this.options = options;
  }

  /** Brings the files to the checkpoint that the attempt goes on from, and starts the command. */
  async begin(): Promise<void> {
    const { attempt, log, place, say } = this.options;
    const { config, directory, inputs, resumeFrom, totalSteps } = attempt;
    try {
      await place.bringSteps();
      // what this attempt knows is old then: the files are the newer one's
      if ((await place.log()).entries.findLastIndex(({ kind }) => kind === "attempt") >= attempt.generation) return;
      const run = metricsRun(config.train, fileURLToPath(outputNamed(inputs, "tokens").uri), totalSteps);
      await bringMetrics(directory, committedLines(run, log, resumeFrom, await readSteps(directory)));
      this.files = new MetricsFiles(directory);
      this.run = run;
      this.startCommand();
    } catch (error) {
      say(`${METRICS} is not written in this attempt: ${messageOf(error)}`);
    }
  }

  /** A step has ended; `time` in milliseconds since 1970. */
  add({ stepsDone, record }: StepEnd, time: number): void {
    const { generation } = this.options.attempt;
    if (record.evaluation?.loss === null) this.options.say(`the loss on the test rows is not finite after ${stepsDone} steps`);
    if (this.run !== null) this.files?.add(metricsLine(this.run, record, { step: stepsDone, generation, time: time / 1000 }));
  }

  close(): void {
    this.exporter?.close();
    this.files?.close();
    this.files = null;
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
      { command, file: inDirectory(METRICS), head, ...kept, graceMs: GRACE_MS },
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
