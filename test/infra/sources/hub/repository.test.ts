import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRepository } from "../../../../infra/sources/hub/repository.js";
import type { RemoteFile } from "../../../../infra/sources/remote.js";

const sha = "a".repeat(40);
const blobId = "b".repeat(40);

test("size and digest come from LFS for large files, from git for others", () => {
  const { commit, files } = parseRepository({
    sha,
    siblings: [
      { rfilename: "config.json", size: 10, blobId },
      { rfilename: "data/train.parquet", size: 130, blobId, lfs: { sha256: "c".repeat(64), size: 5000, pointerSize: 130 } },
    ],
  });
  assert.equal(commit, sha);
  assert.deepEqual(files, [
    { path: "config.json", bytes: 10, digest: { kind: "git", hex: blobId } },
    { path: "data/train.parquet", bytes: 5000, digest: { kind: "sha256", hex: "c".repeat(64) } },
  ]);
});

const described = (sibling: object): RemoteFile => parseRepository({ sha, siblings: [sibling] }).files[0]!;

for (const rfilename of ["../config.json", "a/../../b", "/etc/passwd", "C:\\x", "a//b", "a/./b", "", "a\0b", 7, undefined])
  test(`a file of the name ${JSON.stringify(rfilename)} is refused where it is wanted`, () => {
    const file = described({ rfilename, size: 1, blobId });
    assert.throws(() => file.bytes, { name: "UserError", message: /leaves its directory/ });
    assert.throws(() => file.digest, /leaves its directory/);
  });

test("a file without size or digest is refused by name where it is wanted, and spoils no other", () => {
  assert.throws(() => described({ rfilename: "a" }).bytes, {
    name: "UserError",
    message: /doesn't state a file's size.*HF_ENDPOINT.*file=a/,
  });
  assert.throws(() => described({ rfilename: "a", size: 1 }).digest, { name: "UserError", message: /a file's digest.*file=a/ });
  assert.throws(() => described({ rfilename: "a", size: 1, blobId, lfs: {} }).digest, /a file's digest/);
  assert.equal(described({ rfilename: "runs/events 12:30.log", size: 1, blobId }).bytes, 1);
});

test("a description without commit or files is refused", () => {
  assert.throws(() => parseRepository({ sha: "../x", siblings: [] }), /the commit has no digest/);
  assert.throws(() => parseRepository({ sha }), /lists no files/);
});
