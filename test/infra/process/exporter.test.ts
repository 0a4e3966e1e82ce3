import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Exporter, type ExporterTask } from "../../../infra/process/exporter.js";
import { processStart } from "../../../infra/process/process-start.js";

interface Running {
  readonly exporter: Exporter;
  readonly directory: string;
  readonly names: string[];
  readonly ends: string[];
  readonly notes: string[];
}

function start(
  command: string,
  more: Partial<ExporterTask> = {},
  directory: string = mkdtempSync(join(tmpdir(), "roslin-exporter-")),
): Running {
  const at = (name: string): string => join(directory, name);
  if (!existsSync(at("lines"))) writeFileSync(at("lines"), '{"step":1}\n');
  const files = { file: at("lines"), processFile: at("pid"), runFile: at("run"), errorFile: at("errors") };
  const [names, ends, notes]: [string[], string[], string[]] = [[], [], []];
  const task = { command: command.replaceAll("$DIR", directory), head: { runId: null }, graceMs: 300, lastGraceMs: 600, ...files, ...more };
  const exporter = new Exporter(task, { named: (id) => names.push(id), ended: (how) => ends.push(how), noted: (note) => notes.push(note) });
  return { exporter, directory, names, ends, notes };
}

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    assert.ok(tries < 2000, "it never came to it");
    await sleep(5);
  }
}

/** Whether the process that runs the command is there, or one whose number the command wrote. */
const lives = (file: string): boolean => {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const { pid } = (text.startsWith("{") ? JSON.parse(text) : { pid: Number(text) }) as { readonly pid: number };
  return processStart(pid) !== null;
};

test("the command gets a head and each line, also those that come later, and says what it calls the run", async () => {
  const { exporter, directory, names, ends } = start(`echo '{"runId":"r-7"}'; cat > $DIR/got; touch $DIR/over`, { graceMs: 5000 });
  await until(() => names.length === 1);
  appendFileSync(join(directory, "lines"), '{"step":2}\n{"st');
  appendFileSync(join(directory, "lines"), 'ep":3}\n{"half');
  exporter.close(false);
  await until(() => existsSync(join(directory, "over")));
  assert.equal(readFileSync(join(directory, "got"), "utf8"), '{"runId":null}\n{"step":1}\n{"step":2}\n{"step":3}\n');
  await until(() => !lives(join(directory, "pid")));
  assert.deepEqual([names, ends], [["r-7"], []]);
});

test("a command that hangs is killed a while after the training, with all that it has started", async () => {
  // it reads nothing, and what is written fills its pipe
  const { exporter, directory } = start("sleep 100 & echo $! > $DIR/child; wait");
  appendFileSync(join(directory, "lines"), `${"x".repeat(1 << 20)}\n`);
  await until(() => existsSync(join(directory, "child")) && readFileSync(join(directory, "child"), "utf8").endsWith("\n"));
  assert.ok(lives(join(directory, "child")));
  exporter.close(false);
  await until(() => !lives(join(directory, "pid")) && !lives(join(directory, "child")));
  assert.match(readFileSync(join(directory, "errors"), "utf8"), /had not ended 0\.3 s after the training, and was killed/);
});

test("a command that fails is told of, and its errors are kept", async () => {
  const { exporter, directory, ends } = start("echo no such account >&2; exit 3");
  await until(() => ends.length === 1);
  assert.deepEqual(ends, ["exit code 3"]);
  assert.match(readFileSync(join(directory, "errors"), "utf8"), /no such account/);
  exporter.close(false);
});

test("the next command waits for the end of the one before, and goes on in its run", async () => {
  const first = start(`sleep 0.3; echo '{"runId":"r-8"}'; cat > /dev/null; touch $DIR/first`, { graceMs: 5000 });
  first.exporter.close(false);
  const second = start("test -e $DIR/first && head -n 1 > $DIR/head", {}, first.directory);
  await until(() => second.ends.length === 1);
  assert.deepEqual([second.names, second.ends], [["r-8"], ["exit code 0"]]);
  assert.equal(readFileSync(join(first.directory, "head"), "utf8"), '{"runId":"r-8"}\n');
  assert.deepEqual(first.names, [], "the training that heard nothing was over by then");
});

test("a frozen training's command ends when the next attempt has its own", async () => {
  // nothing closes its standard input
  const first = start("cat > $DIR/first");
  await until(() => existsSync(join(first.directory, "first")));
  const second = start("touch $DIR/second", {}, first.directory);
  await until(() => second.ends.length === 1);
  assert.ok(existsSync(join(first.directory, "second")));
  assert.deepEqual([first.ends, second.ends, second.notes], [["exit code 0"], ["exit code 0"], []]);
});

test("a process before it that does not end is killed, and that is said", async () => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-exporter-"));
  const frozen = spawn("sleep", ["100"]);
  const ended = once(frozen, "exit");
  writeFileSync(join(directory, "pid"), JSON.stringify({ pid: frozen.pid, started: processStart(frozen.pid!) }));
  const { ends, notes } = start("exit 0", {}, directory);
  assert.deepEqual((await ended)[1], "SIGKILL");
  await until(() => ends.length === 1);
  assert.match(notes.join(), /the metrics command of the attempt before had not ended after 3\.3 s, and its process was killed/);
  assert.match(readFileSync(join(directory, "errors"), "utf8"), /had not ended after 3\.3 s/);
});

test("a command that prints without end fills no disk: the beginning is kept, and of many attempts the latest", async () => {
  const { ends, directory } = start("cat > /dev/null & head -c 3000000 /dev/zero >&2; exit 3");
  const errors = join(directory, "errors");
  await until(() => ends.length === 1);
  const { size } = statSync(errors);
  assert.ok(size > 200_000 && size < 300_000, String(size));
  assert.match(readFileSync(errors, "utf8"), /more of the command's errors is not kept: this attempt's are 256 KiB/);
  writeFileSync(errors, "x".repeat(1_100_000));
  const next = start("head -n 2 > /dev/null; echo again >&2", {}, directory);
  await until(() => next.ends.length === 1);
  assert.equal(readFileSync(errors, "utf8"), "again\n");
});

test("after the last step a command has longer, because no attempt gives it the lines again", async () => {
  const { exporter, directory } = start("cat > /dev/null; sleep 1; touch $DIR/sent", { lastGraceMs: 8000 });
  exporter.close(true);
  await until(() => existsSync(join(directory, "sent")));
});
