import assert from "node:assert/strict";
import { test } from "node:test";
import { CorruptError } from "../../../core/errors.js";
import { headerLength, layoutFile, parseHeader } from "../../../core/format/safetensors.js";

test("a file's layout is read back as planned: larger dtypes first, then by name, without a gap", () => {
  const { header, entries, fileBytes } = layoutFile([
    { name: "b", dtype: "F32", shape: [2, 3] },
    { name: "half", dtype: "F16", shape: [5] },
    { name: "a", dtype: "F32", shape: [] },
  ]);
  assert.deepEqual(
    entries.map(({ name, bytes }) => [name, bytes]),
    [
      ["a", 4],
      ["b", 24],
      ["half", 10],
    ],
  );
  assert.equal(headerLength(header.subarray(0, 8), "f") + 8, header.length);
  assert.equal(header.length % 8, 0);
  assert.deepEqual(parseHeader(header.subarray(8), fileBytes, "f"), entries);
});

const damaged: [string, unknown, number][] = [
  ["no description", { a: null }, 0],
  ["no JSON object", null, 1],
  ["an unknown dtype", { a: { dtype: "F8", shape: [1], data_offsets: [0, 1] } }, 1],
  ["a negative size", { a: { dtype: "U8", shape: [-1], data_offsets: [0, -1] } }, 0],
  ["no shape", { a: { dtype: "U8", data_offsets: [0, 1] } }, 1],
  ["no range", { a: { dtype: "U8", shape: [1] } }, 1],
  ["a range of words", { a: { dtype: "U8", shape: [1], data_offsets: ["0", "x"] } }, 1],
  ["a range that doesn't fit its shape", { a: { dtype: "F32", shape: [2], data_offsets: [0, 4] } }, 4],
  ["a gap", { a: { dtype: "U8", shape: [1], data_offsets: [0, 1] }, b: { dtype: "U8", shape: [1], data_offsets: [2, 3] } }, 3],
  ["an overlap", { a: { dtype: "U8", shape: [2], data_offsets: [0, 2] }, b: { dtype: "U8", shape: [2], data_offsets: [1, 3] } }, 3],
  ["bytes left over", { a: { dtype: "U8", shape: [1], data_offsets: [0, 1] } }, 2],
];
for (const [what, json, bytes] of damaged)
  test(`a header with ${what} is corrupt`, () => {
    const header = new TextEncoder().encode(JSON.stringify(json));
    assert.throws(
      () => parseHeader(header, 8 + header.length + bytes, "model.safetensors"),
      (error) => error instanceof CorruptError && /model\.safetensors/.test(error.message),
    );
  });

test("an impossible header length is corrupt", () => {
  const first8 = new Uint8Array(8);
  assert.throws(() => headerLength(first8, "f"), CorruptError);
  assert.throws(() => headerLength(first8.fill(255), "f"), CorruptError);
  assert.throws(() => headerLength(first8.subarray(0, 7), "f"), CorruptError);
});
