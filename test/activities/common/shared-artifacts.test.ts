import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { localArtifacts, shareArtifacts } from "../../../activities/common/shared-artifacts.js";
import { RESULT } from "../../../activities/common/stage.js";
import { CorruptError, UserError } from "../../../core/errors.js";
import type { Artifact } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { openSharedFiles, type SharedFiles } from "../../../infra/sources/shared-files.js";
import { readAll } from "../../../infra/store/store.js";

const never = new AbortController().signal;

interface Two {
  /** directories of all stages of two machines */
  readonly first: string;
  readonly second: string;
  readonly shared: SharedFiles;
  /** outputs of a stage that has finished on the first machine: a directory and a file */
  readonly outputs: readonly Artifact[];
}

async function two(t: TestContext): Promise<Two> {
  const place = mkdtempSync(join(tmpdir(), "roslin-shared-"));
  t.after(() => rmSync(place, { recursive: true }));
  const [first, second] = ["first", "second"].map((name) => join(place, name)) as [string, string];
  const made = join(first, "download", "key");
  mkdirSync(join(made, "model", "below"), { recursive: true });
  mkdirSync(second);
  writeFileSync(join(made, "model", "config.json"), "{}");
  writeFileSync(join(made, "model", "below", "weights"), Buffer.alloc(3 << 20, 7));
  writeFileSync(join(made, "rows.json"), "[]");
  const outputs = [await artifactOf("model", join(made, "model")), await artifactOf("dataset", join(made, "rows.json"))];
  writeFileSync(join(made, RESULT), JSON.stringify({ stage: "download", outputs, metrics: {}, reused: false }));
  const sharing = { journals: join(place, "uploads"), signal: never, onBytes: () => undefined, onNote: () => undefined };
  const shared = openSharedFiles(pathToFileURL(join(place, "store")).href, "", {}, sharing);
  return { first, second, shared, outputs };
}

test("outputs come to another machine with what their stage recorded beside them; where they were made they are used as they are", async (t) => {
  const { first, second, shared, outputs } = await two(t);
  await shareArtifacts(shared, outputs, never);
  assert.deepEqual(await localArtifacts(shared, first, outputs), outputs);
  const there = await localArtifacts(shared, second, outputs);
  for (const [index, { name, uri, sha256 }] of there.entries()) {
    const path = fileURLToPath(uri);
    assert.ok(path.startsWith(`${second}/`));
    assert.deepEqual(await artifactOf(name, path), { ...outputs[index], uri });
    assert.equal(sha256, outputs[index]!.sha256);
    assert.ok(existsSync(join(dirname(path), RESULT)));
  }
  const model = fileURLToPath(there[0]!.uri);
  writeFileSync(join(model, "config.json"), "{ }");
  await localArtifacts(shared, second, outputs);
  assert.equal(readFileSync(join(model, "config.json"), "utf8"), "{}", "a copy that changed is fetched again");
  // another machine of the same paths, whose stage has not finished
  rmSync(join(first, "download", "key", RESULT));
  assert.match((await localArtifacts(shared, first, outputs))[0]!.uri, /first\/shared\//);
});

test("an output that nobody shared is named; a damaged list or file is not used", async (t) => {
  const { second, shared, outputs } = await two(t);
  await assert.rejects(
    localArtifacts(shared, second, outputs),
    (error) => error instanceof UserError && /output=model/.test(error.message),
  );
  await shareArtifacts(shared, outputs, never);
  const [key, file] = [`artifacts/${outputs[0]!.sha256}.json`, `artifacts/${outputs[0]!.sha256}/model/config.json`];
  const list = (await readAll(shared.store, key))!.toString("utf8");
  await shared.store.write(key, Buffer.from(list.replace("config.json", "other.json")));
  await assert.rejects(localArtifacts(shared, second, outputs), CorruptError);
  await shared.store.write(key, Buffer.from(list));
  await shared.store.write(file, Buffer.from("[]"));
  await assert.rejects(localArtifacts(shared, second, outputs), /wrong digest, twice/);
});
