import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { lfsPointerSize, refuseLfsPointer } from "../../../infra/disk/lfs-pointer.js";

const directory = mkdtempSync(join(tmpdir(), "roslin-lfs-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const OID = `oid sha256:${"4d7a".repeat(16)}\n`;
const POINTER = `version https://git-lfs.github.com/spec/v1\n${OID}size 24207819307\n`;

const POINTERS: readonly (readonly [what: string, text: string, size: number | null])[] = [
  ["a pointer", POINTER, 24_207_819_307],
  ["a pointer with Windows line ends", POINTER.replaceAll("\n", "\r\n"), 24_207_819_307],
  ["a pointer without a final line end", POINTER.trimEnd(), 24_207_819_307],
  ["a pointer with an extension", POINTER.replace(OID, `ext-0-foo sha256:${"00".repeat(32)}\n${OID}`), 24_207_819_307],
  ["a pointer of an early release", POINTER.replace("git-lfs.github.com/spec", "hawser.github.com/spec"), 24_207_819_307],
  ["a pointer to an empty file", POINTER.replace("24207819307", "0"), 0],
  ["text about pointers", `# How it works\n${POINTER}`, null],
  ["rows that quote a pointer", JSON.stringify([{ text: POINTER }]), null],
  ["the first line alone", "version https://git-lfs.github.com/spec/v1\n", null],
  ["a pointer with more than a pointer has", POINTER + "x".repeat(1024), null],
  ["an empty file", "", null],
];
for (const [what, text, size] of POINTERS)
  test(`${what} ${size === null ? "is not taken for a Git LFS pointer" : "is known"}`, () => {
    assert.equal(lfsPointerSize(Buffer.from(text)), size);
  });

test("a pointer in place of a file is refused with its name, the real size and what to do", () => {
  const path = join(directory, "model.safetensors");
  writeFileSync(path, POINTER);
  assert.throws(() => refuseLfsPointer(path), {
    name: "UserError",
    message: /Git LFS pointer.*`git lfs pull`.*file=.*model\.safetensors, realFile=24207819307 bytes \(24\.2 GB\), pointer=13\d bytes/,
  });
  writeFileSync(path, "{}");
  refuseLfsPointer(path);
  refuseLfsPointer(directory);
  refuseLfsPointer(join(directory, "missing"));
});
