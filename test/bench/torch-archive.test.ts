import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { writeTorchArchive } from "../../bench/torch-archive.js";
import { TorchFile } from "../../infra/weights/torch-file.js";

test("a made torch file is read as torch's own, its tensors aligned", (t) => {
  const root = mkdtempSync(join(tmpdir(), "torch-archive-"));
  t.after(() => rmSync(root, { recursive: true }));
  const path = join(root, "pytorch_model.bin");
  const tensors = [
    { name: "first.weight", dtype: "F16", shape: [2, 3] },
    { name: "mask", dtype: "U8", shape: [1, 4] },
    { name: "scalar", dtype: "F16", shape: [] },
  ] as const;
  const halves = Uint16Array.of(0x3c00, 0x4000, 0xbc00, 0, 0x3800, 0xc000);
  const values: Record<string, Uint8Array[]> = {
    "first.weight": [new Uint8Array(halves.buffer, 0, 4), new Uint8Array(halves.buffer, 4)],
    mask: [Uint8Array.of(1, 1, 0, 0)],
    scalar: [new Uint8Array(Uint16Array.of(0xbc00).buffer)],
  };
  writeTorchArchive(path, tensors, ({ name }) => values[name]!);
  const file = new TorchFile(path);
  t.after(() => file.close());
  assert.deepEqual(
    [...file.entries].map(([name, { dtype, shape }]) => [name, dtype, [...shape]]),
    tensors.map(({ name, dtype, shape }) => [name, dtype, [...shape]]),
  );
  const read = new Float32Array(6);
  file.readFloats("first.weight", 0, read);
  assert.deepEqual([...read], [1, 2, -1, 0, 0.5, -2]);
  for (const { name } of tensors) assert.equal(file.offsetOf(name)! % 64, 0, name);
});
