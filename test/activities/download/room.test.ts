import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { download } from "../../../activities/download/download.js";
import type { HubReference } from "../../../core/config/source-ref.js";
import type { Remote } from "../../../infra/sources/remote.js";
import { dependenciesFor, HUB, requestFor } from "./dependencies.js";

test("room is needed where the bytes will lie: on the hub's disk for both sources of the hub, else on each one's own", async (context) => {
  const work = await mkdtemp(join(tmpdir(), "roslin-room-"));
  context.after(() => rm(work, { recursive: true }));
  const asked = async (dataset: string): Promise<string[]> => {
    const checks: string[] = [];
    const remoteOf = (uri: string, missing: number): Remote => ({
      origin: { uri },
      title: uri,
      version: "v",
      files: ["config.json", "model.safetensors", "rows.json"].map((path) => ({ path, bytes: 1, digest: { kind: "etag", hex: "e" } })),
      stated: async (files) => files,
      start: async () => null,
      missing: async () => missing,
      checkSpace: async (bytes) => void checks.push(`${uri} ${bytes}`),
      fetch: () => Promise.reject(new Error("enough")),
    });
    const hub = { resolve: async ({ kind, id }: HubReference) => remoteOf(`hf://${id}`, kind === "models" ? 5 : 7) };
    const dependencies = { ...dependenciesFor("http://127.0.0.1:9", work), hub, buckets: { open: async () => remoteOf("s3://b/d", 7) } };
    const request = requestFor({ ...HUB, dataset: { source: dataset } }, work);
    const stage = { signal: new AbortController().signal, progress: () => undefined };
    await assert.rejects(download(dependencies, request, stage), /enough/);
    return checks.slice(0, 2);
  };
  assert.deepEqual(await asked("s3://b/d"), ["hf://org/m 5", "s3://b/d 7"]);
  assert.deepEqual(await asked("hf://org/d"), ["hf://org/m 5", "hf://org/d 12"]);
});
