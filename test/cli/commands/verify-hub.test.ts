import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { download } from "../../../activities/download/download.js";
import { publish } from "../../../activities/publish/publish.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import { verify } from "../../../cli/commands/verify.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { CorruptError } from "../../../core/errors.js";
import { outputNamed } from "../../../core/stages/results.js";
import { createHub } from "../../../infra/sources/hub/hub.js";
import { openPublished } from "../../../infra/sources/published.js";
import { stored } from "../../../demo/hub/repositories.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { dependenciesFor } from "../../activities/download/dependencies.js";
import { finishedRun, publishDependencies } from "../../activities/publish/run.js";
import { startUploadHub, TOKEN } from "../../infra/hub/upload-hub.js";

const root = mkdtempSync(join(tmpdir(), "roslin-verify-hub-"));
const hub = await startUploadHub();
after(async () => {
  await hub.close();
  rmSync(root, { recursive: true });
});
const environment = readEnvironment({ ROSLIN_HOME: join(root, "home"), HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN }, CHECKOUT);
const context = { signal: new AbortController().signal, progress: () => undefined };

/** What `roslin verify` prints. */
async function said(run: string): Promise<string[]> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => void lines.push(line);
  try {
    await verify.run([run], environment);
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error;
  } finally {
    console.log = log;
  }
  return lines;
}

test("a model on the hub that was tuned from one on the hub holds with its base, and has the base's licence", async () => {
  const first = await publish(
    publishDependencies({}, undefined, { hub: hub.access }),
    await finishedRun(join(root, "first"), "hf://me/m"),
    context,
  );
  const place = join(root, "second");
  const made = await finishedRun(place, "hf://me/m");
  const dataset = { source: pathToFileURL(join(place, "rows.json")).href };
  const config = parseRunConfig({ ...made.config, model: { source: "hf://me/m" }, dataset });
  const places = { ...dependenciesFor(hub.url, place), hub: createHub({ ...hub.access, cacheDirectory: join(place, "hub") }) };
  const downloaded = await download(places, { ...made, config, inputs: [] }, context);
  const base = outputNamed(first.outputs, "published").uri;
  assert.equal(outputNamed(downloaded.outputs, "model").origin!.uri, base, "at its commit");
  const inputs = made.inputs.map((input) => downloaded.outputs.find(({ name }) => name === input.name) ?? input);
  const request: StageRequest = { ...made, config, inputs };
  const second = await publish(publishDependencies({}, undefined, { hub: hub.access }), request, context);
  assert.match(String(second.metrics["version"]), /^m-[0-9a-f]{12}$/);

  const { manifest } = await openPublished("hf://me/m", { hub: hub.access });
  assert.equal(manifest.name, second.metrics["version"], "main holds what is live");
  assert.equal(manifest.licence, "cc-by-nc-4.0");
  const lines = await said(`hf://me/m@${manifest.name}`);
  assert.ok(lines.includes(`ok      base model ${base}`), lines.join("\n"));
  assert.ok(lines.includes("ok      the model's name"));
  assert.match(lines.at(-1)!, /^all \d+ links hold$/);

  const repository = hub.repository("me/m");
  const head = repository.at("main")!;
  repository.add("main", head.oid, "by hand", new Map([...head.files, ["config.json", stored("config.json", Buffer.from("{}"), false)]]));
  const broken = (await said("hf://me/m")).filter((line) => line.startsWith("BROKEN"));
  assert.equal(broken.length, 1);
  assert.match(broken[0]!, /hf:\/\/me\/m@[0-9a-f]{40}\/config\.json: expected [0-9a-f]{64}/);
  await assert.rejects(verify.run(["hf://me/nothing"], environment), /the hub has no such repository|may not see|refuses this/);
});
