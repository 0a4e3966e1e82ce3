import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { hostname } from "node:os";
import { test } from "node:test";
import type { Client } from "@temporalio/client";
import { endOrphans, workerIdentity } from "../../workers/predecessor.js";

const STARTED = 2;
const SCHEDULED = 1;

/** A server with one run, whose pending activities are given; notes which are failed. */
function server(pending: readonly object[]): { readonly client: Client; readonly failed: string[] } {
  const failed: string[] = [];
  const client = {
    workflow: {
      list: async function* () {
        yield { workflowId: "run", runId: "1" };
      },
      getHandle: () => ({ describe: async () => ({ raw: { pendingActivities: pending } }) }),
    },
    activity: {
      fail: async ({ workflowId, runId, activityId }: Record<string, string>) => void failed.push(`${workflowId}/${runId}/${activityId}`),
    },
  };
  return { client: client as unknown as Client, failed };
}

test("a worker ends what its dead predecessor had begun, and nothing of the living, of others, or paused", async () => {
  const child = spawn(process.execPath, ["-e", ""]);
  await once(child, "exit");
  const dead = workerIdentity("pipeline", "/home/a").replace(`${process.pid}`, `${child.pid}`);
  const alive = workerIdentity("pipeline", "/home/a").replace(`${process.pid}`, `${process.ppid}`);
  assert.equal(dead, `pipeline ${child.pid}@${hostname()} /home/a`);
  const { client, failed } = server([
    { activityId: "evaluate", state: STARTED, lastWorkerIdentity: dead },
    { activityId: "next", state: SCHEDULED, lastWorkerIdentity: dead },
    { activityId: "paused", state: STARTED, paused: true, lastWorkerIdentity: dead },
    { activityId: "own", state: STARTED, lastWorkerIdentity: workerIdentity("pipeline", "/home/a") },
    { activityId: "living", state: STARTED, lastWorkerIdentity: alive },
    { activityId: "elsewhere", state: STARTED, lastWorkerIdentity: dead.replace("/home/a", "/home/b") },
    { activityId: "other", state: STARTED, lastWorkerIdentity: dead.replace("pipeline", "gpu-0") },
    { activityId: "foreign", state: STARTED, lastWorkerIdentity: `${child.pid}@${hostname()}` },
  ]);
  await endOrphans(client, "pipeline", "/home/a");
  assert.deepEqual(failed, ["run/1/evaluate"]);
});
