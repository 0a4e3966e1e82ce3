import assert from "node:assert/strict";
import { test } from "node:test";
import { findZipDirectory, parseZipDirectory, zipDataOffset, ZIP_HEADER_BYTES, ZIP_TAIL_BYTES } from "../../../core/format/zip.js";
import { archive } from "./archive.js";

const ENTRIES = [
  ["m/data.pkl", Buffer.from("pickle")],
  ["m/data/0", Buffer.alloc(100_000, 7)],
  ["m/empty", Buffer.alloc(0)],
] as const;

/** The entries' data, found through the directory. */
function contents(file: Buffer): [string, Buffer][] {
  const directory = findZipDirectory(file.subarray(Math.max(0, file.length - ZIP_TAIL_BYTES)), file.length, "z");
  const entries = parseZipDirectory(file.subarray(directory.offset, directory.offset + directory.bytes), directory, "z");
  return [...entries.values()].map((entry) => {
    const start = zipDataOffset(file.subarray(entry.header, entry.header + ZIP_HEADER_BYTES), entry, directory, "z");
    return [entry.name, file.subarray(start, start + entry.bytes)];
  });
}

test("stored entries are found, with and without Zip64, and before a comment", () => {
  for (const options of [{}, { zip64: true }, { comment: "a comment" }, { zip64: true, comment: "x".repeat(0xffff) }])
    assert.deepEqual(contents(archive(ENTRIES, options)), ENTRIES, JSON.stringify({ ...options, comment: undefined }));
});

test("compressed and encrypted entries are refused by name", () => {
  assert.throws(() => contents(archive(ENTRIES, { method: 8 })), { name: "UserError", message: /compressed.*entry=m\/data\.pkl/ });
  assert.throws(() => contents(archive(ENTRIES, { flags: 1 })), { name: "UserError", message: /encrypted/ });
});

test("an archive that is cut anywhere is damaged", () => {
  for (const options of [{}, { zip64: true }]) {
    const whole = archive([ENTRIES[0], ENTRIES[2]], options);
    for (let length = 0; length < whole.length; length++)
      assert.throws(() => contents(whole.subarray(0, length)), { name: "CorruptError" }, String(length));
  }
});

test("an entry that is named twice or lies outside its file is damage", () => {
  assert.throws(() => contents(archive([ENTRIES[0], ENTRIES[0]])), { name: "CorruptError", message: /twice/ });
  const fields: [string, number, RegExp][] = [
    ["size", 24, /does not fit/],
    ["offset of the header", 42, /does not fit|no header/],
  ];
  for (const [what, field, expected] of fields) {
    const file = archive([ENTRIES[0]]);
    const at = file.indexOf(Buffer.from("PK\x01\x02"));
    file.writeUInt32LE(file.readUInt32LE(at + field) + 1000, at + field);
    if (field === 24) file.writeUInt32LE(file.readUInt32LE(at + 20) + 1000, at + 20);
    assert.throws(() => contents(file), { name: "CorruptError", message: expected }, what);
  }
  const file = archive([ENTRIES[0]], { zip64: true });
  const sizes = file.indexOf(Buffer.from([1, 0, 24, 0]));
  file.writeBigUInt64LE(1n << 60n, sizes + 4);
  assert.throws(() => contents(file), { name: "CorruptError", message: /impossible size/ });
});
