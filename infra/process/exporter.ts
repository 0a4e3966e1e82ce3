import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";

/** A command of the user's that is told what a training comes to, step by step, and that can neither slow nor stop it. */

/** What the process that runs the command is told first. */
export interface ExporterWork {
  /** a line for a shell */
  readonly command: string;
  /** the lines that it is given, which go on growing */
  readonly file: string;
  /** the line before them */
  readonly head: object;
  /** names the process, so that the next one waits for its end */
  readonly pidFile: string;
  /** how long the command may take after the training's end */
  readonly graceMs: number;
}

/** What the command's owner hears. */
export interface ExporterEvents {
  /** what the command calls the run in its own records */
  named(runId: string): void;
  /** the command has ended while the training goes on */
  ended(how: string): void;
}

const PROGRAM = join(import.meta.dirname, "exporter-process.js");

/** A run's name is a line of printed characters. */
const RUN_ID = /^[\x21-\x7e]{1,200}$/;
/** More of an answer is not looked at. */
const MOST_ANSWER = 1 << 16;

/** A command that runs beside a training. */
export class Exporter {
  private readonly child: ChildProcess;
  private open = true;
  private answer: string | null = "";

  /** `log`: the file to which the command's errors go. */
  constructor(work: ExporterWork, log: string, events: ExporterEvents) {
    const errors = openSync(log, "w");
    // detached: a Ctrl-C that stops the training must not end it
    this.child = spawn(process.execPath, [PROGRAM], { stdio: ["pipe", "pipe", errors], detached: true });
    closeSync(errors);
    const { child } = this;
    child.on("error", ({ message }) => this.end(events, message));
    child.on("exit", (code, signal) => this.end(events, signal ?? `exit code ${code}`));
    child.stdin!.on("error", () => undefined);
    child.stdin!.write(`${JSON.stringify(work)}\n`);
    child.stdout!.on("data", (bytes: Buffer) => this.hear(bytes, events));
    // neither it nor its pipes keep a process that has done its work
    child.unref();
    for (const pipe of [child.stdin!, child.stdout!]) (pipe as unknown as { unref(): void }).unref();
  }

  /** The training is over: the command gets the rest of the lines, and ends by itself or is killed. Nobody waits for it. */
  close(): void {
    this.open = false;
    this.child.stdin!.end();
  }

  private end(events: ExporterEvents, how: string): void {
    if (this.open) events.ended(how);
    this.open = false;
  }

  private hear(bytes: Buffer, events: ExporterEvents): void {
    if (this.answer === null || !this.open) return;
    const lines = (this.answer + bytes.toString("utf8")).split("\n");
    const found = lines
      .slice(0, -1)
      .map(runIdIn)
      .find((id) => id !== null);
    this.answer = found === undefined && lines.at(-1)!.length < MOST_ANSWER ? lines.at(-1)! : null;
    if (found !== undefined) events.named(found);
  }
}

/** The run's name in a line that the command has printed; null: it says none. */
function runIdIn(line: string): string | null {
  try {
    const { runId } = JSON.parse(line) as { readonly runId?: unknown };
    return typeof runId === "string" && RUN_ID.test(runId) ? runId : null;
  } catch {
    return null;
  }
}
