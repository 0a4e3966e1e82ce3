import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client, Connection } from "@temporalio/client";
import { endedStages, follow } from "../../../cli/show/follow.js";
import { startTemporal } from "../../../infra/servers/start.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";

test("who ceases to follow a run for which no worker answers has nothing asked of it any more", async (context) => {
  const home = mkdtempSync(join(tmpdir(), "roslin-follow-"));
  const { tools, variables } = readEnvironment(process.env, CHECKOUT);
  const server = await startTemporal({ home, tools, variables, signal: context.signal, searchAttributes: {} });
  const connection = await Connection.connect({ address: server.address });
  context.after(async () => {
    await connection.close();
    await server.stop();
    rmSync(home, { recursive: true });
  });
  let asked = 0;
  let asking = 0;
  const query = async <Q, R>(input: Q, next: (input: Q) => Promise<R>): Promise<R> => {
    asked++;
    asking++;
    return await next(input).finally(() => asking--);
  };
  const client = new Client({ connection, interceptors: { workflow: [{ query }] } });
  const { workflowId } = await client.workflow.start("finetune", { taskQueue: "nobody", workflowId: "run" });
  const stop = new AbortController();
  const following = follow(client, workflowId, { show: () => undefined, line: () => undefined, end: () => undefined }, stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(following, { message: "enough" });
  assert.deepEqual([asked, asking], [1, 0]);
});

test("a stage that has ended is said with what a user should not miss of it", () => {
  const rows = [
    { stage: "download", state: "reused", seconds: 0.4, note: "14 MB" },
    { stage: "preprocess", state: "done", seconds: 5, note: "all of it", warnings: ["WARNING: MORE", "columns: id"] },
    { stage: "train", state: "running", seconds: 1, note: "", warnings: ["of a stage that runs"] },
  ] as const;
  assert.deepEqual(endedStages(rows), [
    "download   reused in 0.4 s",
    "preprocess done in 5 s",
    "preprocess WARNING: MORE",
    "preprocess columns: id",
  ]);
});
