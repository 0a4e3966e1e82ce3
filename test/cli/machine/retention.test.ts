import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { msToTs } from "@temporalio/common/lib/time.js";
import { retentionOf } from "../../../cli/machine/retention.js";
import { temporalVariables } from "../../../cli/machine/server-variables.js";
import { withClient } from "../../../workers/client.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";

const home = mkdtempSync(join(tmpdir(), "roslin-retention-"));
symlinkSync(readEnvironment(process.env, CHECKOUT).tools, join(home, "tools"));
const env = { ...process.env, ROSLIN_HOME: home, ROSLIN_S3: "external" };
const environment = readEnvironment(env, CHECKOUT);
const main = JSON.stringify(join(import.meta.dirname, "../../../cli/main.js"));
const script = ["--input-type=module", "-e", `process.exit(await (await import(${main})).main(process.argv.slice(1)))`, "--"];
let up: ChildProcess | undefined;
after(async () => {
  await stop();
  rmSync(home, { recursive: true });
});

async function start(): Promise<void> {
  up = spawn(process.execPath, [...script, "up", "--workers", "1"], { env, stdio: ["ignore", "pipe", "inherit"] });
  const [text] = (await once(up.stdout!.setEncoding("utf8"), "data")) as [string];
  assert.match(text, /^Roslin is up/);
}

async function stop(): Promise<void> {
  if (up?.exitCode !== null || !up.kill("SIGINT")) return;
  await once(up, "exit");
}

const retention = async (): Promise<number> => withClient(await temporalVariables(environment), retentionOf);

test(
  "a local server remembers runs for a year, or for as long as somebody has set, and gc says for how long",
  { timeout: 120_000 },
  async () => {
    await start();
    assert.equal(await retention(), 365 * 86_400);
    await withClient(await temporalVariables(environment), ({ workflowService }) =>
      workflowService.updateNamespace({ namespace: "default", config: { workflowExecutionRetentionTtl: msToTs("7 days") } }),
    );
    const { stdout } = spawnSync(process.execPath, [...script, "gc"], { env, encoding: "utf8" });
    assert.match(stdout, /^Temporal remembers runs for 7 d after they end; .*\nnothing to remove; what 0 runs need is kept/);
    await stop();
    await start();
    assert.equal(await retention(), 7 * 86_400);
  },
);
