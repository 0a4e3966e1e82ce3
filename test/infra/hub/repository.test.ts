import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRepository } from "../../../infra/hub/repository.js";

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

for (const rfilename of ["../config.json", "a/../../b", "/etc/passwd", "C:\\x", "c:x", "a//b", "a/./b", "", "a\0b", 7, undefined])
  test(`the name ${JSON.stringify(rfilename)} is refused`, () => {
    assert.throws(() => parseRepository({ sha, siblings: [{ rfilename, size: 1, blobId }] }), /leaves its directory/);
  });

test("a description without sizes or digests is refused", () => {
  assert.throws(() => parseRepository({ sha, siblings: [{ rfilename: "a" }] }), /a has no size/);
  assert.throws(() => parseRepository({ sha, siblings: [{ rfilename: "a", size: 1 }] }), /a has no digest/);
  assert.throws(() => parseRepository({ sha: "../x", siblings: [] }), /the commit has no digest/);
  assert.throws(() => parseRepository({ sha }), /lists no files/);
});
