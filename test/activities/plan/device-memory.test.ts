import assert from "node:assert/strict";
import { test } from "node:test";
import { checkDevices } from "../../../activities/plan/device-memory.js";
import { UserError } from "../../../core/errors.js";
import type { Needs } from "../../../engines/engine.js";

const GB = 1e9;
/** 100 GB that ranks share evenly, and 4 GB in each. */
const needs: Needs = { parameters: 6e9, memoryBytes: 0, diskBytes: 0, deviceBytes: (ranks) => (100 * GB) / ranks + 4 * GB };
const gpus = (count: number, memory: number): number[] => Array.from({ length: count }, () => memory);

test("workers on the CPU are not compared", () => {
  assert.equal(checkDevices("deepspeed", needs, [], 8), null);
});

test("a run that fits says what each rank takes, and how few GPUs would do", () => {
  assert.equal(
    checkDevices("deepspeed", needs, gpus(8, 40 * GB), 8),
    "each of 8 ranks needs at least 16.5 GB of its GPU's 40.0 GB; 3 GPUs would do",
  );
  assert.match(checkDevices("deepspeed", needs, gpus(3, 40 * GB), 8)!, /; with fewer GPUs it does not fit$/);
});

test("a rank that does not fit its GPU is refused, need against have, by the smallest GPU and the ranks that there can be", () => {
  const refused = (memory: readonly number[], shards: number, message: RegExp): void =>
    assert.throws(
      () => checkDevices("deepspeed", needs, memory, shards),
      (error: Error) => error instanceof UserError && message.test(error.message),
    );
  refused(gpus(2, 40 * GB), 8, /ranks=2, need=54\.0 GB, have=40\.0 GB, ranks that would do=3/);
  refused([...gpus(7, 40 * GB), 16 * GB], 8, /ranks=8, need=16\.5 GB, have=16\.0 GB, ranks that would do=9/);
  refused(gpus(8, 40 * GB), 2, /ranks=2, /);
  refused(gpus(8, 4 * GB), 8, /ranks that would do=none/);
});

test("an engine that uses no GPU says so", () => {
  const { deviceBytes: _, ...plain } = needs;
  assert.match(
    checkDevices("onnx", plain, gpus(2, 40 * GB), 8)!,
    /the engine onnx computes on the CPU: the GPUs of 2 workers are not used/,
  );
});
