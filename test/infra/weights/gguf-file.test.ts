import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CorruptError } from "../../../core/errors.js";
import { GgufFile } from "../../../infra/weights/gguf-file.js";

const FILES = join(import.meta.dirname, "../../../../test/reference/gguf-files");
const { tensors } = JSON.parse(readFileSync(join(FILES, "types.json"), "utf8")) as { tensors: Record<string, string> };

for (const [type, hex] of Object.entries(tensors))
  test(`${type} is read to the bits that llama.cpp's package gives, in any range`, (context) => {
    const file = new GgufFile(join(FILES, "types.gguf"));
    context.after(() => file.close());
    const expected = new Uint8Array(Buffer.from(hex, "hex"));
    const values = new Float32Array(192);
    assert.equal(file.entries.get(type)!.dtype, type.startsWith("Q") ? "F32" : type);
    for (const [first, end] of [
      [0, 192],
      [0, 0],
      [5, 6],
      [31, 33],
      [32, 64],
      [63, 161],
      [191, 192],
    ] as const) {
      const part = values.subarray(first, end).fill(Number.NaN);
      file.readFloats(type, first, part);
      const bytes = new Uint8Array(values.buffer, 4 * first, 4 * (end - first));
      assert.deepEqual(bytes, expected.subarray(4 * first, 4 * end), `${first} to ${end}`);
    }
    assert.throws(() => file.readFloats(type, 191, new Float32Array(2)), RangeError);
    assert.throws(() => file.readFloats("other", 0, new Float32Array(2)), /a tensor is missing.*tensor=other/);
  });

test("a header of several megabytes is read in steps, and a cut one refused", (context) => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-gguf-"));
  context.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "cut.gguf");
  const whole = readFileSync(join(FILES, "llama.gguf"));
  writeFileSync(path, whole.subarray(0, 5000));
  assert.throws(
    () => new GgufFile(path),
    (error) => error instanceof CorruptError && error.message.includes(`file=${path}`),
  );
  writeFileSync(path, "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0".repeat(64) + "\nsize 98362432\n");
  assert.throws(() => new GgufFile(path), /Git LFS pointer/);
});
