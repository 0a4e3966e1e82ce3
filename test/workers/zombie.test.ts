import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openLog } from "../../activities/train/log/commit-log.js";
import { fileStore } from "../../infra/store/file-store.js";
import { digestOf, startMachine, until, type Machine } from "./machine.js";

/** A worker that was stopped while its run was reset, and goes on when another has taken over. */

let machine: Machine;
before(async () => {
  machine = await startMachine(2);
});
after(async () => {
  for (const name of ["gpu-0", "gpu-1"]) if (machine !== undefined) process.kill(machine.pid(name), "SIGCONT");
  await machine?.stop();
});

/** The training's directory; "" before there is one. */
function training(): string {
  const root = join(machine.home, "stages", "train");
  const [key] = existsSync(root) ? readdirSync(root) : [];
  return key === undefined ? "" : join(root, key);
}

const log = async () => (await openLog(fileStore(training()))).entries;
const checkpointsOf = async (generation: number): Promise<number[]> =>
  (await log()).flatMap((entry) => (entry.kind === "checkpoint" && entry.generation === generation ? [entry.step] : []));

/** The weights that a process has mapped, as "inode name". */
function memoryOf(pid: number): string[] {
  const lines = readFileSync(`/proc/${pid}/maps`, "utf8").split("\n");
  return [...new Set(lines.flatMap((line) => /\s(\d+)\s+\S*\/(roslin-\w+-g\d+\.weights)/.exec(line)?.slice(1, 3).join(" ") ?? []))];
}

test(
  "a worker from before a reset that was stopped and goes on cannot commit, and shares no memory with who took over",
  {
    timeout: 300_000,
  },
  async () => {
    const config = { ...machine.config, train: { ...machine.config.train, epochs: 1, shards: 1, workers: { min: 1, waitSeconds: 3 } } };
    const calm = await (await machine.start("calm", config)).result();

    await machine.slow(true);
    await machine.start("reset", config);
    await until(async () => training() !== "" && (await checkpointsOf(1)).length >= 2);
    const zombie = machine.pid("gpu-0");
    process.kill(zombie, "SIGSTOP");
    const saved = await checkpointsOf(1);
    const itsMemory = existsSync("/proc/self/maps") ? memoryOf(zombie) : [];
    await machine.temporal("workflow", "reset", "--workflow-id", "reset", "--type", "LastWorkflowTask", "--reason", "test");

    const heir = machine.pid("gpu-1");
    let next = 1;
    await until(async () => {
      next = (await log()).findLastIndex(({ kind }) => kind === "attempt") + 1;
      return next > 1 && (await checkpointsOf(next)).length > 0;
    });
    process.kill(heir, "SIGSTOP");
    if (itsMemory.length > 0) {
      assert.equal(itsMemory.length, 1);
      const [its, ours] = [itsMemory, memoryOf(heir)].map((files) => files.map((file) => file.split(" ")));
      assert.match(ours![0]![1]!, new RegExp(`-g${next}\\.weights$`));
      assert.notEqual(ours![0]![0], its![0]![0]);
    }
    const before = (await log()).length;
    process.kill(zombie, "SIGCONT");
    // it saves, as it was about to, or because nobody knows its task any more, unless it had just saved; and then its memory is gone
    const late = new RegExp(`^g000001-s(?!${saved.map((step) => `0*${step}`).join("|")}-)\\d+-shard00\\.safetensors$`);
    const isGone = (): boolean => itsMemory.length > 0 && memoryOf(zombie).length === 0;
    await until(() => isGone() || readdirSync(join(training(), "shards")).some((file) => late.test(file)));
    if (itsMemory.length > 0) await until(isGone);
    assert.equal((await log()).length, before);
    await machine.slow(false);
    process.kill(heir, "SIGCONT");

    const result = await machine.client.workflow.getHandle("reset").result();
    assert.deepEqual(await checkpointsOf(1), saved);
    assert.equal(digestOf(result), digestOf(calm));
    assert.ok(!readdirSync(join(training(), "shards")).some((file) => file.startsWith("g000001-")), "what it wrote is removed");
  },
);
