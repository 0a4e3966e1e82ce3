import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { attemptPrefix } from "../../../activities/train/run/leftovers.js";
import { trainDeps } from "../../../workers/train-deps.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { down } from "../../../cli/commands/down.js";
import { readState, runningState, stateFile, type UpState } from "../../../cli/machine/up-state.js";
import { isAlive } from "../../../infra/servers/service.js";

const home = mkdtempSync(join(tmpdir(), "roslin-machine-"));
const environment = readEnvironment({ ...process.env, ROSLIN_HOME: home }, CHECKOUT);
const started: ChildProcess[] = [];
after(async () => {
  for (const child of started) child.kill("SIGKILL");
  for (const id of (await readState(home))?.processes ?? []) if (isAlive(id)) process.kill(id.pid, "SIGKILL");
  rmSync(home, { recursive: true });
});

interface Up {
  readonly child: ChildProcess;
  /** everything that it has printed */
  said(): string;
  readonly state: UpState;
}

/** Starts a supervisor and waits until it is up or has ended. */
async function start(): Promise<Up> {
  const child = spawn(process.execPath, ["--enable-source-maps", join(import.meta.dirname, "machine-child.js"), home], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (more: string) => (text += more));
  const ended = once(child, "close");
  while (!/^up$/m.test(text)) if ((await Promise.race([ended, once(child.stdout, "data")]))[0] === child.exitCode) break;
  return { child, said: () => text, state: (await readState(home))! };
}

test("what a killed supervisor left is ended by the next start, which goes on; a second one beside it is told so; down stops all", async () => {
  const first = await start();
  assert.equal(first.state.processes.length, 2);
  assert.equal(statSync(stateFile(home)).mode & 0o777, 0o600);
  first.child.kill("SIGKILL");
  await once(first.child, "exit");
  assert.equal(await runningState(home), null);
  assert.ok(first.state.processes.every(isAlive));
  const training = join(home, "stages", "train", "0123456789abcdef");
  mkdirSync(training, { recursive: true });
  const places = trainDeps.machine;
  const memory = [places.sharedDirectory(1, training), training, places.socketDirectory].map((place) =>
    join(place, `${attemptPrefix(training)}g7.weights`),
  );
  for (const file of memory) writeFileSync(file, "");

  const second = await start();
  assert.deepEqual(memory.filter(existsSync), [], "shared memory and sockets of a training that was killed with everything");
  assert.match(second.said(), /ending 2 processes that a killed supervisor left: server, worker/);
  assert.ok(!first.state.processes.some(isAlive));
  assert.ok(second.state.processes.every(isAlive));

  const third = await start();
  assert.equal(third.child.exitCode, 2);
  assert.match(third.said(), /roslin up runs here already/);
  assert.ok(second.state.processes.every(isAlive));

  assert.equal(await down.run([], environment), 0);
  assert.ok(!second.state.processes.some(isAlive));
  assert.equal(existsSync(stateFile(home)), false);
});

test("Ctrl-C and SIGTERM stop everything and leave no state", async () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const { child, state } = await start();
    child.kill(signal);
    const [code] = (await once(child, "exit")) as [number];
    assert.equal(code, 0);
    assert.ok(!state.processes.some(isAlive));
    assert.equal(await readState(home), null);
  }
});

test("down ends one that is just starting, and has nothing to do the second time", async () => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "machine-child.js"), home, "slow"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  const ended = once(child, "exit");
  await once(child.stdout, "data");
  assert.equal(await down.run([], environment), 0);
  assert.deepEqual(await ended, [0, null]);
  assert.equal(await down.run([], environment), 0);
  assert.equal(await readState(home), null);
});

test("down ends one that Ctrl-Z has stopped, with a stopped process of its own", async () => {
  const { child, state } = await start();
  child.kill("SIGSTOP");
  process.kill(state.processes[0]!.pid, "SIGSTOP");
  const ended = once(child, "exit");
  assert.equal(await down.run([], environment), 0);
  assert.deepEqual(await ended, [0, null]);
  assert.ok(!state.processes.some(isAlive));
});

test("a pid that another process has got since is let alone", async () => {
  const { child, state } = await start();
  child.kill("SIGKILL");
  await once(child, "exit");
  const { writeState } = await import("../../../cli/machine/up-state.js");
  const stranger = state.processes[0]!;
  await writeState(home, { ...state, processes: [{ ...stranger, start: "1" }, state.processes[1]!] });
  await down.run([], environment);
  assert.ok(isAlive(stranger));
  assert.ok(!isAlive(state.processes[1]!));
  process.kill(stranger.pid, "SIGKILL");
});
