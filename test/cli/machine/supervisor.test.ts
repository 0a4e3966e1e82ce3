import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pauseBefore, Supervisor, type Supervised } from "../../../cli/machine/supervisor.js";
import { isAlive, launch, stopAll, type Service } from "../../../infra/servers/service.js";

const root = mkdtempSync(join(tmpdir(), "roslin-supervisor-"));
after(() => rmSync(root, { recursive: true }));

test("the pause before a start is short at first, grows, and is forgotten after a long life", () => {
  assert.equal(pauseBefore(null, 10), 200);
  assert.equal(pauseBefore(200, 10), 400);
  assert.equal(pauseBefore(8000, 10), 10_000);
  assert.equal(pauseBefore(10_000, 60_000), 200);
});

test("groups are started in order and stopped in the opposite one; what is killed in between is started again", async () => {
  let processes: readonly Supervised[] = [];
  const lines: string[] = [];
  const order = join(root, "order");
  const supervisor = new Supervisor(
    [[sleeper("server", order)], [sleeper("worker-0", order), sleeper("worker-1", order)]],
    async (now) => void (processes = now),
    (line) => lines.push(line),
  );
  await supervisor.start(new AbortController().signal);
  const before = processes.find(({ name }) => name === "worker-1")!;
  process.kill(before.pid, "SIGKILL");
  while (processes.find(({ name }) => name === "worker-1")!.pid === before.pid) await sleep(10);
  const again = processes.find(({ name }) => name === "worker-1")!;
  assert.notEqual(again.pid, before.pid);
  assert.equal(again.restarts, 1);
  assert.match(lines[0]!, /worker-1 ended \(signal SIGKILL\)/);
  while (readFileSync(order, "utf8").split("start worker-1").length < 3) await sleep(10);

  await supervisor.stop();
  const events = readFileSync(order, "utf8").trim().split("\n");
  assert.equal(events[0], "start server");
  assert.equal(events.at(-1), "stop server");
  assert.deepEqual(events.slice(-3, -1).sort(), ["stop worker-0", "stop worker-1"]);
  assert.ok(!processes.some(isAlive));
});

test("a process that was frozen hears that it is to stop, and does so by itself", async () => {
  const order = join(root, "order-4");
  const running = await launch(sleeper("frozen", order));
  while (!existsSync(order)) await sleep(10);
  process.kill(running.id.pid, "SIGSTOP");
  await stopAll([running]);
  assert.equal(readFileSync(order, "utf8"), "start frozen\nstop frozen\n");
  assert.equal(await running.ended, "exit code 0");
});

test("what runs is started again and stopped, though its list cannot be saved", async () => {
  const order = join(root, "order-3");
  const lines: string[] = [];
  let first: Supervised | undefined;
  const supervisor = new Supervisor(
    [[sleeper("worker", order)]],
    async ([now]) => {
      if (first !== undefined) throw new Error("the disk is full");
      first = now;
    },
    (line) => lines.push(line),
  );
  await supervisor.start(new AbortController().signal);
  process.kill(first!.pid, "SIGKILL");
  while (readFileSync(order, "utf8").split("start worker").length < 3) await sleep(10);
  await supervisor.stop();
  assert.deepEqual(readFileSync(order, "utf8").trim().split("\n"), ["start worker", "start worker", "stop worker"]);
  assert.match(lines.join("\n"), /the list of running processes cannot be saved: the disk is full/);
});

test("a server that ends at once is told of with the end of its log, and what was started before is stopped", async () => {
  let processes: readonly Supervised[] = [];
  const broken: Service = {
    ...service("broken", "console.error('the port is taken'); process.exit(3)"),
    ready: async () => false,
  };
  const supervisor = new Supervisor(
    [[sleeper("server", join(root, "order-2"))], [broken]],
    async (now) => void (processes = now),
    () => {},
  );
  await assert.rejects(supervisor.start(new AbortController().signal), /broken ended at once with exit code 3; [^]*the port is taken/);
  assert.ok(!processes.some(isAlive));
});

test("of what ends by itself the last words are told, and where its log lies", async () => {
  const lines: string[] = [];
  const failing = service("failing", 'setTimeout(() => { console.error("no memory left"); process.exit(3); }, 100)');
  const supervisor = new Supervisor(
    [[failing]],
    async () => {},
    (line) => lines.push(line),
  );
  await supervisor.start(new AbortController().signal);
  while (lines.length === 0) await sleep(10);
  await supervisor.stop();
  assert.match(lines[0]!, /^failing ended \(exit code 3\).*no memory left; the rest is in .*failing\.log$/);
});

test("a log that has grown too long is kept aside and starts anew", async () => {
  const { boundLog } = await import("../../../infra/servers/service.js");
  const log = join(root, "long.log");
  appendFileSync(log, Buffer.alloc((16 << 20) + 1));
  await boundLog(log);
  appendFileSync(log, "on");
  assert.equal(readFileSync(log, "utf8"), "on");
  assert.ok(existsSync(`${log}.1`));
});

function service(name: string, script: string): Service {
  return { name, command: process.execPath, args: ["-e", script], variables: process.env, log: join(root, `${name}.log`), graceMs: 5000 };
}

/** A process that notes its start and its end. */
function sleeper(name: string, order: string): Service {
  const note = (what: string): string => `require("fs").appendFileSync(${JSON.stringify(order)}, "${what} ${name}\\n")`;
  return {
    ...service(name, `process.on("SIGTERM", () => { ${note("stop")}; process.exit() }); ${note("start")}; setInterval(() => {}, 1000)`),
    ready: async () => existsSync(order) && readFileSync(order, "utf8").includes(`start ${name}`),
  };
}
