import { writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { CHECKOUT } from "../../workers/environment.js";
import { LEASE_ID, SIGNALS } from "../../workflows/contract.js";
import { progressOf, rowOf, startMachine, until, watch, type Machine } from "../workers/machine.js";

/**
 * Records the histories that replay.test.ts replays, from runs on real servers and processes:
 * `node dist/test/workflows/record.js`. Only for a deliberate change that earlier runs cannot be gone on with.
 */
const HISTORIES = join(CHECKOUT, "test", "workflows", "histories");

/** What happens to a run, by the name of its history. */
const SCENARIOS: Readonly<Record<string, (machine: Machine, id: string) => Promise<unknown>>> = {
  clean: async (machine, id) => (await machine.start(id)).result(),

  "killed-and-resumed": async (machine, id) => {
    const killed = new Set<string>();
    return watch(machine, await machine.start(id), async (activity, commits) => {
      const victims = activity === "train-0-g1" && commits >= 3 ? ["gpu-1"] : activity === "evaluate" ? ["pipeline"] : [];
      for (const name of victims) if (!killed.has(name)) machine.kill(name);
      for (const name of victims) killed.add(name);
    });
  },

  "lost-worker": async (machine, id) => {
    const run = await machine.start(id, { ...machine.config, train: { ...machine.config.train, epochs: 40, checkpointEverySteps: 20 } });
    await training(machine);
    machine.lose("gpu-1", "gpu-2");
    await until(async () => (await rowOf(run, "train")).includes(" on 1 worker:"));
    await machine.bringBack("gpu-1", "gpu-2");
    await until(async () => (await rowOf(run, "train")).includes(" on 3 workers:"));
    return run.result();
  },

  "worker-paused": async (machine, id) => {
    const run = await machine.start(id);
    await training(machine);
    await machine.temporal("activity", "pause", "--workflow-id", id, "--activity-id", "train-2-g1");
    await until(async () => (await rowOf(run, "train")).includes("temporal activity unpause"));
    await machine.temporal("activity", "unpause", "--workflow-id", id, "--activity-id", "train-2-g1");
    return run.result();
  },

  "run-paused": async (machine, id) => {
    const run = await machine.start(id);
    await training(machine);
    await run.signal(SIGNALS.pause);
    await until(async () => (await progressOf(run)).pause.startsWith("paused"));
    await run.signal(SIGNALS.resume);
    await until(async () => /^(running|reused|done)/.test(await rowOf(run, "evaluate")));
    await run.signal(SIGNALS.pause);
    await run.signal(SIGNALS.resume);
    return run.result();
  },

  cancelled: async (machine, id) => {
    const run = await machine.start(id);
    await training(machine);
    await run.cancel();
    return run.result().catch(() => undefined);
  },

  reset: async (machine, id) => {
    await machine.start(id);
    await training(machine);
    await machine.temporal("workflow", "reset", "--workflow-id", id, "--type", "LastWorkflowTask", "--reason", "once more");
    return machine.client.workflow.getHandle(id).result();
  },

  "wrong-input": async (machine, id) => (await machine.start(id, { modle: {} })).result().catch(() => undefined),
};

/** Waits until training has saved twice. */
const training = (machine: Machine): Promise<void> => until(async () => (await machine.commits()) >= 3);

async function record(machine: Machine, id: string): Promise<void> {
  const shown = JSON.parse(await machine.temporal("workflow", "show", "--workflow-id", id, "--output", "json")) as unknown;
  const places: [string, string][] = [
    [CHECKOUT, "/home/user/roslin"],
    [machine.home, "/home/user/.roslin"],
    [hostname(), "host"],
  ];
  const neutral = (text: string): string => places.reduce((result, [own, other]) => result.replaceAll(own, other), text);
  const history = JSON.stringify(shown, (key, value: unknown) => {
    if (typeof value !== "string") return value;
    return key === "data" ? Buffer.from(neutral(Buffer.from(value, "base64").toString("utf8"))).toString("base64") : neutral(value);
  });
  await writeFile(join(HISTORIES, `${id}.json`), `${history}\n`);
  console.log(`${id}: ${(shown as { events: unknown[] }).events.length} events`);
}

const machine = await startMachine(3);
try {
  for (const [id, happen] of Object.entries(SCENARIOS)) {
    await happen(machine, id);
    await record(machine, id);
  }
  await record(machine, LEASE_ID);
} finally {
  await machine.stop();
}
