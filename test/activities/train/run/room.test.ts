import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SHARDS } from "../../../../activities/train/log/checkpoint.js";
import { checkRoom } from "../../../../activities/train/run/room.js";
import type { Machine, Needs } from "../../../../engines/engine.js";

const GB = 1e9;

test("with ranks on GPUs the host needs what is not on the GPUs, without them all of it", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "room-"));
  t.after(() => rm(directory, { recursive: true }));
  await mkdir(join(directory, SHARDS));
  const machine: Machine = {
    availableMemory: () => 64 * GB,
    freeDisk: () => 100 * GB,
    sharedDirectory: (_bytes, otherwise) => otherwise,
    socketDirectory: directory,
  };
  const needs: Needs = { parameters: 6e9, memoryBytes: 120 * GB, hostBytes: 50 * GB, diskBytes: 0 };
  checkRoom({ ...machine, onGpus: true }, directory, needs, true);
  const lack = { name: "UserError", message: /more memory than this machine has free \[need=120\.0 GB, have=64\.0 GB/ };
  assert.throws(() => checkRoom(machine, directory, needs, true), lack);
  const { hostBytes: _, ...onCpus } = needs;
  assert.throws(() => checkRoom({ ...machine, onGpus: true }, directory, onCpus, true), lack);
});
