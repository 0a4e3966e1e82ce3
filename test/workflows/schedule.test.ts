import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { schedule } from "../../cli/commands/schedule.js";
import { toolPlaces } from "../../cli/machine/local-machine.js";
import { getTool, TEMPORAL } from "../../infra/servers/tools.js";
import type { FinetuneResult } from "../../workflows/contract.js";
import { quickConfig, startPlace, type Place } from "./place.js";

let place: Place;
before(async () => {
  place = await startPlace();
});
after(async () => {
  await place.clear();
  await place.stop();
});

test("the stock CLI starts a run, and retrains on a schedule that fires", async () => {
  const environment = readEnvironment(process.env, CHECKOUT);
  const binary = await getTool(TEMPORAL, toolPlaces(environment), () => undefined, new AbortController().signal);
  const temporal = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)(binary, ["--address", place.address, ...args])).stdout;
  await place.pipeline();
  await place.gpu(0, 1, async () => ({ status: "finished", step: 4 }));
  const input = JSON.stringify(quickConfig());

  const done = JSON.parse(
    await temporal(
      "workflow",
      "execute",
      "--type",
      "finetune",
      "--task-queue",
      "roslin",
      "--workflow-id",
      "by-hand",
      "--input",
      input,
      "--output",
      "json",
    ),
  ) as {
    result: FinetuneResult;
  };
  assert.equal(done.result.stages.length, 5);

  await temporal(
    ...["schedule", "create", "--schedule-id", "nightly", "--interval", "2s", "--remaining-actions", "1", "--overlap-policy", "Skip"],
    ...["--workflow-id", "nightly", "--type", "finetune", "--task-queue", "roslin", "--input", input],
  );
  let started: string | undefined;
  while (started === undefined) {
    await sleep(200);
    const [action] = (await place.client.schedule.getHandle("nightly").describe()).info.recentActions;
    if (action?.action.type === "startWorkflow") started = action.action.workflow.workflowId;
  }
  assert.match(started, /^nightly-/);
  const result = (await place.client.workflow.getHandle(started).result()) as FinetuneResult;
  assert.deepEqual(
    result.rows.map(({ state }) => state),
    ["done", "done", "done", "done", "done"],
  );
});

test("a schedule that the server refuses is a user error", async () => {
  const environment = readEnvironment({ ...process.env, TEMPORAL_ADDRESS: place.address }, CHECKOUT);
  const config = join(place.directory, "config.json");
  await writeFile(config, "{}");
  for (const when of [
    ["--cron", "not a cron"],
    ["--every", "0h"],
  ])
    await assert.rejects(schedule.run(["create", "wrong", "--config", config, ...when], environment), {
      name: "UserError",
      message: new RegExp(`correct --every or --cron.*${when[1]}`),
    });
});
