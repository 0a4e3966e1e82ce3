import assert from "node:assert/strict";
import { test } from "node:test";
import { TrainingPlace } from "../../../../activities/train/log/training-place.js";
import { UserError } from "../../../../core/errors.js";
import { sha256 } from "../../../../infra/disk/files.js";
import { memoryStore } from "../../../../infra/store/memory-store.js";

test("a shard is lost when the store lacks it or has other bytes, not when it refuses to give it", async () => {
  const store = memoryStore();
  const bytes = Buffer.from("weights");
  const fetch = () => Promise.reject(new UserError("the credentials have expired"));
  const place = new TrainingPlace("/nowhere", memoryStore(), { store, fetch, put: () => Promise.resolve() });
  const shard = { shard: 0, file: "shards/a", bytes: bytes.length, sha256: sha256(bytes) };
  assert.match((await place.bring(shard))!, /expired/, "it is gone");
  await store.write("shards/a", bytes);
  await assert.rejects(place.bring(shard), /expired/);
  await store.write("shards/a", Buffer.from("Weights"));
  assert.match((await place.bring(shard))!, /expired/, "it is damaged");
});
