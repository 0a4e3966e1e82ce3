import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { processStart } from "./process-start.js";

/** A command of the user's that is told what a training comes to, step by step, and that can neither slow nor stop it. */

/** A process for good: another one may have its number later. */
export interface ProcessName {
  readonly pid: number;
  readonly started: string | null;
}

/** What a command is to be run for. */
export interface ExporterTask {
  /** a line for a shell */
  readonly command: string;
  /** the lines that it is given, which go on growing */
  readonly file: string;
  /** the line before them; `runId`: what the command called the run before, null if it has not yet */
  readonly head: { readonly runId: string | null };
  /** what is kept of it from attempt to attempt: the names of its process and of its run, and what it prints as errors */
  readonly processFile: string;
  readonly runFile: string;
  readonly errorFile: string;
  /** how long the command may take after an attempt's end, and after the training's last step */
  readonly graceMs: number;
  readonly lastGraceMs: number;
}

/** What the process that runs the command is told first; it waits for the end of the one before. */
export interface ExporterWork extends ExporterTask {
  readonly predecessor: ProcessName | null;
}

/** What the command's owner hears. */
export interface ExporterEvents {
  /** what the command calls the run in its own records */
  named(runId: string): void;
  /** the command has ended while the training goes on */
  ended(how: string): void;
  /** something else that a user should know */
  noted(note: string): void;
}

const PROGRAM = join(import.meta.dirname, "exporter-process.js");

/** Bytes of earlier attempts' errors that are kept. */
const LONG_ERRORS = 1 << 20;

/** What its process is told when no attempt follows. */
export const LAST = "last";

/** A run's name is a word of printed characters. */
const RUN_ID = /^[\x21-\x7e]{1,200}$/;

/** A command that runs beside a training. */
export class Exporter {
  private readonly child: ChildProcess;
  private open = true;

  constructor(task: ExporterTask, events: ExporterEvents) {
    const errors = openSync(task.errorFile, isLong(task.errorFile) ? "w" : "a");
    // detached: a Ctrl-C that stops the training must not end it
    this.child = spawn(process.execPath, [PROGRAM], { stdio: ["pipe", "pipe", errors], detached: true });
    closeSync(errors);
    const { child } = this;
    const [stdin, stdout] = [child.stdin!, child.stdout!];
    child.on("error", ({ message }) => this.end(events, message));
    child.on("exit", (code, signal) => this.end(events, signal ?? `exit code ${code}`));
    stdin.on("error", () => undefined);
    const work: ExporterWork = { ...task, predecessor: processIn(task.processFile) };
    const own: ProcessName = { pid: child.pid ?? 0, started: processStart(child.pid ?? 0) };
    writeFileSync(task.processFile, JSON.stringify(own));
    stdin.write(`${JSON.stringify(work)}\n`);
    createInterface({ input: stdout }).on("line", (line) => {
      const runId = runIdIn(line);
      const { note } = JSON.parse(line) as { readonly note?: string };
      if (runId !== null && this.open) events.named(runId);
      if (note !== undefined && this.open) events.noted(note);
    });
    // neither it nor its pipes keep a process that has done its work
    child.unref();
    for (const pipe of [stdin, stdout]) (pipe as unknown as { unref(): void }).unref();
  }

  /** The attempt is over: the command gets the rest of the lines, and ends by itself or is killed. Nobody waits for it. `last`: no attempt follows. */
  close(last: boolean): void {
    this.open = false;
    this.child.stdin!.end(last ? `${LAST}\n` : "");
  }

  private end(events: ExporterEvents, how: string): void {
    if (this.open) events.ended(how);
    this.open = false;
  }
}

/** Whether earlier attempts have left so much that it gives way to the next one's. */
function isLong(errorFile: string): boolean {
  return (statSync(errorFile, { throwIfNoEntry: false })?.size ?? 0) > LONG_ERRORS;
}

function processIn(path: string): ProcessName | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ProcessName;
  } catch {
    return null;
  }
}

/** The run's name in a line that the command has printed; null: it says none. */
export function runIdIn(line: string): string | null {
  try {
    const { runId } = JSON.parse(line) as { readonly runId?: unknown };
    return typeof runId === "string" && RUN_ID.test(runId) ? runId : null;
  } catch {
    return null;
  }
}
