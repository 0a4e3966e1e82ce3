import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { DefaultLogger, Runtime, Worker } from "@temporalio/worker";
import { CHECKOUT } from "../../workers/environment.js";
import { bundleWorkflows } from "../../workers/bundle.js";
import { readHistory } from "./history.js";

/**
 * Histories of real runs, which record.ts makes: a run that is under way when Roslin is updated must go on. One that
 * cannot be replayed any more asks for a `patched` in the workflow, not for a new history.
 */
const HISTORIES = join(CHECKOUT, "test", "workflows", "histories");

/** A clean run, and one for each thing that can happen to it. */
const NAMES = [
  "cancelled",
  "clean",
  "killed-and-resumed",
  "lost-worker",
  "reset",
  "roslin-gpu-lease",
  "run-paused",
  "worker-paused",
  "wrong-input",
];

test("runs of earlier versions can be gone on with, whatever happened to them", async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR"), shutdownSignals: [] });
  const names = (await readdir(HISTORIES)).filter((name) => name.endsWith(".json"));
  const histories = await Promise.all(
    names.map(async (name) => ({ workflowId: name.replace(/\.json$/, ""), history: await readHistory(join(HISTORIES, name)) })),
  );
  const replayed: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle: await bundleWorkflows() }, histories)) {
    assert.equal(error, undefined, `${workflowId}: ${error?.message}`);
    replayed.push(workflowId);
  }
  assert.deepEqual(replayed.sort(), NAMES);
});
