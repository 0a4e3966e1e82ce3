import assert from "node:assert/strict";
import { test } from "node:test";
import { planRemote } from "../../../activities/download/source-plan.js";
import type { Remote } from "../../../infra/sources/remote.js";

const never = new AbortController().signal;

/** A bucket that holds these files wherever one looks. */
function bucketOf(...paths: string[]): Parameters<typeof planRemote>[0] {
  const files = paths.map((path) => ({ path, bytes: 1, digest: { kind: "etag", hex: "e" } as const }));
  const remote: Remote = {
    origin: { uri: "s3://b/x" },
    title: "x",
    version: "v",
    files,
    stated: async (files) => files,
    missing: async () => 0,
    checkSpace: async () => undefined,
    fetch: async () => [],
  };
  return { hub: { resolve: async () => remote }, buckets: { open: async () => remote } };
}

async function planned(source: string, ...paths: string[]): Promise<readonly string[]> {
  const plan = await planRemote(bucketOf(...paths), "dataset", source, null, never);
  assert.ok(plan.kind === "remote");
  return plan.files.map(({ path }) => path);
}

test("an object that its source names is taken, whatever its name says of splits", async () => {
  assert.deepEqual(await planned("s3://b/x/test.jsonl", "test.jsonl"), ["test.jsonl"]);
  await assert.rejects(planned("s3://b/x", "test.jsonl"), /for tests/);
  await assert.rejects(planned("s3://b/x/test.txt", "test.txt"), /needs a data file/);
});
