import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { processStart } from "./process-start.js";
import { LAST, runIdIn, type ExporterWork, type ProcessName } from "./exporter.js";

/**
 * The process between a training and the user's metrics command. It lives through the training's death: its standard input
 * ends then, and it gives the command a while to finish before it kills it. It reads the lines from their file, so that a
 * command that is slow or hangs costs neither the training nor any memory.
 */

/** How long between two looks at the file. */
const POLL_MS = 250;
/** How long a process may take, beyond its command's time, to see that a later attempt has another one. */
const REPLACED_MS = 3000;
const READ_BYTES = 1 << 20;
/** More of an answer is not looked at. */
const MOST_ANSWER = 1 << 16;
/** Bytes of errors that an attempt adds to their file. */
const MOST_ERRORS = 1 << 18;

const input = createInterface({ input: process.stdin });
let over = false;
/** the training has done its last step: no later attempt hands the command the lines again */
let isLast = false;
input.on("line", (line) => (isLast ||= line === LAST));
let answer: string | null = "";
const trainingEnded = once(input, "close").then(() => void (over = true));
for (const stream of [process.stdin, process.stdout]) stream.on("error", () => undefined);
// the training stops by itself, and this process ends after it
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);

const [first] = (await once(input, "line")) as [string];
const work = JSON.parse(first) as ExporterWork;
await endOf(work.predecessor);
// the attempt after this one has its own by now, which is handed all lines
if (over && !isNewest()) process.exit(0);
/** Resolves when the training has ended, or when a newer attempt's process waits for this one: a frozen training ends nothing. */
const closed = Promise.race([trainingEnded, replaced()]).then(() => void (over = true));
const known = work.head.runId ?? keptRun(work.runFile);
if (known !== work.head.runId) tell({ runId: known });
// a shell, because the command is a line as one types it; a group of its own, because it may start others
const child = spawn("/bin/sh", ["-c", work.command], { stdio: "pipe", detached: true });
const ended = new Promise<number>((resolve) => {
  child.once("error", (error) => {
    console.error(error.message);
    resolve(127);
  });
  child.once("exit", (code) => resolve(code ?? 1));
});
child.stdin.on("error", () => undefined);
child.stdout.on("data", (bytes: Buffer) => hear(bytes));
let room = MOST_ERRORS;
const errorsRead = once(child.stderr, "close");
child.stderr.on("data", (bytes: Buffer) => keepError(bytes));
void feed({ ...work, head: { ...work.head, runId: known } }, child.stdin).catch((error: unknown) => console.error(error));
void endLater();
const code = await ended;
kill(child, "SIGKILL");
// what it printed last is still read, unless something outside its group keeps the pipe open
await Promise.race([errorsRead, sleep(1000)]);
process.exit(code);

/** Waits for the process of the attempt before, whose command may still be sending what it has; one that does not end in time is killed. */
async function endOf(predecessor: ProcessName | null): Promise<void> {
  const lives = (): boolean => predecessor !== null && processStart(predecessor.pid) === predecessor.started;
  const until = performance.now() + work.graceMs + REPLACED_MS;
  while (lives() && performance.now() < until) await sleep(POLL_MS);
  if (!lives()) return;
  const note = `the metrics command of the attempt before had not ended after ${(work.graceMs + REPLACED_MS) / 1000} s, and its process was killed`;
  console.error(note);
  tell({ note });
  process.kill(predecessor!.pid, "SIGKILL");
}

/** Whether no later attempt has a process of its own. */
function isNewest(): boolean {
  try {
    return (JSON.parse(readFileSync(work.processFile, "utf8")) as ProcessName).pid === process.pid;
  } catch {
    // it is being written, or its directory was removed
    return true;
  }
}

/** Resolves once a later attempt has a process of its own. */
async function replaced(): Promise<void> {
  while (isNewest()) await sleep(POLL_MS);
}

/** What the command of an attempt before has called the run, when that attempt did not live to hear it. */
function keptRun(runFile: string): string | null {
  try {
    return runIdIn(readFileSync(runFile, "utf8"));
  } catch {
    return null;
  }
}

/** Tells the training, if it lives, what the run is called, or something that a user should know. */
function tell(word: { readonly runId: string | null } | { readonly note: string }): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

/** Looks in what the command prints for the run's name. */
function hear(bytes: Buffer): void {
  if (answer === null) return;
  const lines = (answer + bytes.toString("utf8")).split("\n");
  const runId = lines
    .slice(0, -1)
    .map(runIdIn)
    .find((id) => id !== null);
  answer = runId === undefined && lines.at(-1)!.length < MOST_ANSWER ? lines.at(-1)! : null;
  if (runId === undefined) return;
  writeFileSync(work.runFile, `${JSON.stringify({ runId })}\n`);
  tell({ runId });
}

/** Keeps the beginning of what the command prints as errors. */
function keepError(bytes: Buffer): void {
  if (room === 0) return;
  process.stderr.write(bytes.subarray(0, room));
  room = Math.max(0, room - bytes.length);
  if (room === 0) console.error(`\nmore of the command's errors is not kept: this attempt's are ${MOST_ERRORS / 1024} KiB`);
}

/** Hands the command the head and the lines of the file, as fast as it takes them, until the training has ended. */
async function feed({ head, file }: ExporterWork, stdin: NonNullable<ChildProcess["stdin"]>): Promise<void> {
  const give = async (text: string | Buffer): Promise<void> => {
    if (!stdin.write(text)) await once(stdin, "drain");
  };
  await give(`${JSON.stringify(head)}\n`);
  const lines = await open(file, "r");
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    // what was written before the end is read
    const last = over;
    const { bytesRead, buffer } = await lines.read({ buffer: Buffer.alloc(READ_BYTES) });
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    const end = rest.lastIndexOf("\n") + 1;
    if (end > 0) await give(rest.subarray(0, end));
    rest = rest.subarray(end);
    if (bytesRead > 0) continue;
    if (last) break;
    await Promise.race([sleep(POLL_MS), closed]);
  }
  stdin.end();
  await lines.close();
}

/** Kills a command that has not ended a while after the training. */
async function endLater(): Promise<void> {
  await closed;
  const begun = performance.now();
  const grace = (): number => (isLast && isNewest() ? work.lastGraceMs : work.graceMs);
  while (performance.now() - begun < grace()) await sleep(Math.min(POLL_MS, work.graceMs));
  console.error(`the metrics command had not ended ${grace() / 1000} s after the training, and was killed`);
  kill(child, "SIGTERM");
  await sleep(1000);
  kill(child, "SIGKILL");
}

/** Ends the command with all that it has started. */
function kill({ pid }: ChildProcess, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // nothing is left of it
  }
}
