import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { StageDefinition } from "../../../activities/common/definition.js";
import { Stage, type StageContext, type StageRequest } from "../../../activities/common/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import type { PreprocessMetrics } from "../../../core/stages/metrics.js";
import { artifactOf } from "../../../infra/disk/files.js";

const context: StageContext = { signal: new AbortController().signal, progress: () => undefined };
const definition: StageDefinition<"preprocess"> = { name: "preprocess", version: 1, inputs: ["dataset"], settings: () => null };

interface Copying {
  readonly source: string;
  readonly copy: string;
  /** Runs a stage that copies its input; true: it had been done. `meanwhile` is called before it reads. */
  run(meanwhile?: () => Promise<void>): Promise<boolean>;
}

async function copying(t: { after(done: () => Promise<void>): void }): Promise<Copying> {
  const root = await mkdtemp(join(tmpdir(), "stage-"));
  t.after(() => rm(root, { recursive: true }));
  const [source, copy] = [join(root, "source"), join(root, "copy")];
  await writeFile(source, "rows");
  const request: StageRequest = { config: parseRunConfig({}), root, inputs: [await artifactOf("dataset", source)] };
  const run = async (meanwhile?: () => Promise<void>): Promise<boolean> => {
    const stage = new Stage(definition, request);
    const result = await stage.run(context, async () => {
      await meanwhile?.();
      await writeFile(join(stage.directory, "half"), await readFile(source));
      await writeFile(copy, await readFile(source));
      return { outputs: [await artifactOf("tokens", copy)], metrics: { seconds: 0 } as PreprocessMetrics };
    });
    return result.reused;
  };
  return { source, copy, run };
}

test("a finished stage is reused while its outputs are what it left, and done over when they aren't", async (t) => {
  const { copy, run } = await copying(t);
  assert.equal(await run(), false);
  assert.equal(await run(), true);
  await writeFile(copy, "sows");
  assert.equal(await run(), false);
  assert.equal(await readFile(copy, "utf8"), "rows");
  await rm(copy);
  assert.equal(await run(), false);
  assert.equal(await run(), true);
});

test("an input that changed after it was digested is not used, and the stage that makes it again is named", async (t) => {
  const { source, run } = await copying(t);
  await writeFile(source, "sows");
  const names = (error: Error): boolean =>
    error instanceof UserError &&
    /the dataset changed .*run `roslin stage download` again \[uri=file:.*source, expected=[\da-f]{64}, got=[\da-f]{64}\]/.test(
      error.message,
    );
  await assert.rejects(run(), names);
  await rm(source);
  await assert.rejects(run(), /is gone: run `roslin stage download` again \[uri=file:.*\]: ENOENT/);
});

test("an input that changes after its check makes no result, and nothing that was made of it is gone on with", async (t) => {
  const { source, copy, run } = await copying(t);
  await assert.rejects(
    run(() => writeFile(source, "sows")),
    /the dataset changed/,
  );
  const stages = join(dirname(source), "preprocess");
  const [key] = await readdir(stages);
  assert.deepEqual((await readdir(join(stages, key!))).toSorted(), ["wanted.json"]);
  await writeFile(source, "rows");
  assert.equal(await run(), false);
  assert.equal(await readFile(copy, "utf8"), "rows");
});
