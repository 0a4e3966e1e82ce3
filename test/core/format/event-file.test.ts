import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c } from "../../../core/format/crc32c.js";
import { fileHead, restart, scalars, shownSteps, wholeRecords } from "../../../core/format/event-file.js";

test("CRC-32C has the values of RFC 3720", () => {
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
});

test("a file has the bytes that torch's SummaryWriter writes of the same event", () => {
  // made by tensorboard 2.21: EventFileWriter's record of Event(wall_time=1.5, step=3, summary=[Value(tag="a", simple_value=2)])
  const expected = "1700000000000000e7cef81e09000000000000f83f10032a0a0a080a01611500000040e81c3a9d";
  assert.equal(Buffer.from(scalars(1.5, 3, { a: 2 })).toString("hex"), expected);
});

test("a record that was cut short or damaged does not count", () => {
  const parts = [fileHead(1), restart(1, 8), scalars(2, 8, { "train/loss": 1.25 })];
  const file = Buffer.concat(parts);
  const last = file.length - parts[2]!.length;
  assert.equal(wholeRecords(file), file.length);
  for (const cut of [1, 4, 12, parts[2]!.length - 1]) assert.equal(wholeRecords(file.subarray(0, file.length - cut)), last);
  assert.equal(wholeRecords(Buffer.concat([file.subarray(0, last), Buffer.alloc(100)])), last);
  const damaged = Buffer.from(file);
  damaged[file.length - 5]! ^= 1;
  assert.equal(wholeRecords(damaged), last);
});

test("the steps that are shown are those after the last restart that removed them", () => {
  const at = (step: number): Uint8Array => scalars(1, step, { "train/loss": 1.25, "eval/loss": 2 });
  const file = Buffer.concat([fileHead(1), at(1), at(300), at(301), restart(2, 301), at(301), at(301), at(70_000)]);
  assert.deepEqual(shownSteps(file), [1, 300, 301, 301, 70_000]);
  assert.deepEqual(shownSteps(file.subarray(0, file.length - 1)), [1, 300, 301, 301]);
  assert.deepEqual(shownSteps(Buffer.concat([file, restart(3, 0)])), []);
});
