import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { DefaultLogger, Runtime, Worker } from "@temporalio/worker";
import { CHECKOUT } from "../../workers/environment.js";
import { bundleWorkflows } from "../../workers/bundle.js";
import { readHistory } from "./history.js";

/**
 * Histories of real runs, as `temporal workflow show --output json` gives them: a run that is under way when Roslin is
 * updated must go on. One that cannot be replayed any more asks for a `patched` in the workflow, not for a new history.
 */
const HISTORIES = join(CHECKOUT, "test", "workflows", "histories");

test("runs of earlier versions can be gone on with, after kills, cancelled, failed and as lease", async () => {
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
  assert.deepEqual(replayed.sort(), ["cancelled", "killed-and-resumed", "roslin-gpu-lease", "wrong-input"]);
});
