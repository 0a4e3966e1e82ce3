import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkHubRows, demoEnvironment, forgetOtherRun } from "../../../cli/machine/demo-machine.js";
import { startHubServer } from "../../../demo/hub/server.js";
import { readEnvironment, type Environment } from "../../../workers/environment.js";

const root = mkdtempSync(join(tmpdir(), "roslin-demo-machine-"));
after(() => rmSync(root, { recursive: true }));

const environmentWith = (variables: object): Environment =>
  readEnvironment({ PATH: "/bin", ROSLIN_HOME: join(root, "home"), HF_HOME: join(root, "cache"), ...variables }, root);

test("a hub that cannot be reached, or must not be asked, is said in seconds with what to give instead", async () => {
  for (const variables of [{ HF_ENDPOINT: "http://127.0.0.1:9" }, { HF_HUB_OFFLINE: "1" }])
    await assert.rejects(checkHubRows(environmentWith(variables), new AbortController().signal), {
      name: "UserError",
      message: /^the rows of tatsu-lab\/alpaca cannot be had from the hub: name a file of your own by --rows FILE/,
    });
});

test("a hub that has the rows is enough", async () => {
  const files = join(root, "hub", "datasets", "tatsu-lab", "alpaca");
  mkdirSync(files, { recursive: true });
  writeFileSync(join(files, "rows.json"), "[]");
  const hub = await startHubServer({ root: join(root, "hub"), host: "127.0.0.1", port: 0 });
  try {
    await checkHubRows(environmentWith({ HF_ENDPOINT: hub.url }), new AbortController().signal);
  } finally {
    await hub.close();
  }
});

test("a demo's environment has none of the user's servers, and the user's hub only where rows come from it", async () => {
  const given = { AWS_PROFILE: "mine", TEMPORAL_ADDRESS: "there:1", TEMPORAL_CLI_PATH: "/t", HF_TOKEN: "secret", HF_HUB_OFFLINE: "1" };
  const made = await demoEnvironment(environmentWith(given), "demo", false);
  const hubs = await demoEnvironment(environmentWith(given), "demo-real", true);
  assert.deepEqual([made.home, hubs.home], [join(root, "home", "demo"), join(root, "home", "demo-real")]);
  const names = ({ variables }: Environment): string[] => Object.keys(variables).filter((name) => Object.hasOwn(given, name));
  assert.deepEqual(names(made), ["TEMPORAL_CLI_PATH"]);
  assert.deepEqual(names(hubs).sort(), ["HF_HUB_OFFLINE", "HF_TOKEN", "TEMPORAL_CLI_PATH"]);
  assert.ok(existsSync(join(hubs.home, "tools")));
});

test("a home keeps the run that it names, and is cleared of another one's", async () => {
  const home = join(root, "kept");
  mkdirSync(join(home, "stages"), { recursive: true });
  mkdirSync(join(home, "tools"));
  let kept = 0;
  const forget = (id: string): Promise<void> => forgetOtherRun(home, id, () => kept++);
  await forget("demo-1");
  assert.deepEqual(readdirSync(home).sort(), ["run.json", "tools"]);
  mkdirSync(join(home, "stages"));
  await forget("demo-1");
  assert.deepEqual([kept, existsSync(join(home, "stages"))], [1, true]);
  await forget("demo-2");
  assert.deepEqual([kept, existsSync(join(home, "stages")), readFileSync(join(home, "run.json"), "utf8")], [1, false, "demo-2"]);
});
