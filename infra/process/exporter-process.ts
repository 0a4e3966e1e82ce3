import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { processStart } from "./process-start.js";
import type { ExporterWork } from "./exporter.js";

/**
 * The process between a training and the user's metrics command. It lives through the training's death: its standard input
 * ends then, and it gives the command a while to finish before it kills it. It reads the lines from their file, so that a
 * command that is slow or hangs costs neither the training nor any memory.
 */

/** How long between two looks at the file. */
const POLL_MS = 250;
const READ_BYTES = 1 << 20;

const input = createInterface({ input: process.stdin });
let over = false;
input.on("close", () => (over = true));
process.stdin.on("error", () => undefined);
// the training stops by itself, and this process ends after it
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);

const [first] = (await once(input, "line")) as [string];
const work = JSON.parse(first) as ExporterWork;
await predecessor(work.pidFile);
writeFileSync(work.pidFile, JSON.stringify({ pid: process.pid, started: processStart(process.pid) }));
// a shell, because the command is a line as one types it; a group of its own, because it may start others
const child = spawn("/bin/sh", ["-c", work.command], { stdio: ["pipe", "inherit", "inherit"], detached: true });
const ended = new Promise<number>((resolve) => {
  child.once("error", (error) => {
    console.error(error.message);
    resolve(127);
  });
  child.once("exit", (code) => resolve(code ?? 1));
});
child.stdin.on("error", () => undefined);
void feed(work, child.stdin).catch((error: unknown) => console.error(error));
void endLater(work.graceMs);
const code = await ended;
kill(child, "SIGKILL");
process.exit(code);

/** Waits for the process of the attempt before, whose command may still be sending what it has. */
async function predecessor(pidFile: string): Promise<void> {
  try {
    const { pid, started } = JSON.parse(readFileSync(pidFile, "utf8")) as { readonly pid: number; readonly started: string };
    while (processStart(pid) === started) await sleep(POLL_MS);
  } catch {
    // there is none
  }
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
    await sleep(POLL_MS);
  }
  stdin.end();
  await lines.close();
}

/** Kills a command that has not ended a while after the training. */
async function endLater(graceMs: number): Promise<void> {
  if (!over) await once(input, "close");
  await sleep(graceMs);
  console.error(`the metrics command had not ended ${graceMs / 1000} s after the training, and was killed`);
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
