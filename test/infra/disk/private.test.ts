import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { makePrivateDirectory, readPrivate, withPrivateFiles, writePrivate } from "../../../infra/disk/private.js";
import { socketPlace } from "../../../infra/process/meeting-place.js";

const root = mkdtempSync(join(tmpdir(), "roslin-private-"));
after(() => rmSync(root, { recursive: true }));
const mode = (path: string): number => statSync(path).mode & 0o777;

test("a secret has mode 600 whatever the umask, and no half file stays", () => {
  const before = process.umask(0);
  try {
    writePrivate(join(root, "keys"), "one");
    makePrivateDirectory(join(root, "a", "b"), assert.fail);
  } finally {
    process.umask(before);
  }
  assert.equal(mode(join(root, "keys")), 0o600);
  assert.equal(mode(join(root, "a", "b")), 0o700);
  assert.equal(mode(join(root, "a")), 0o700);
  writePrivate(join(root, "keys"), "two");
  assert.equal(readPrivate(join(root, "keys"), assert.fail), "two");
  mkdirSync(join(root, "taken", "x"), { recursive: true });
  assert.throws(() => writePrivate(join(root, "taken"), "three"));
  assert.deepEqual(readdirSync(root).sort(), ["a", "keys", "taken"]);
});

test("an open file or directory is closed with a note; a directory for everybody stays as it is", () => {
  const said: string[] = [];
  const say = (line: string): void => void said.push(line);
  writeFileSync(join(root, "open"), "secret");
  chmodSync(join(root, "open"), 0o644);
  assert.equal(readPrivate(join(root, "open"), say), "secret");
  assert.equal(mode(join(root, "open")), 0o600);
  mkdirSync(join(root, "wide"));
  chmodSync(join(root, "wide"), 0o775);
  makePrivateDirectory(join(root, "wide"), say);
  assert.equal(mode(join(root, "wide")), 0o700);
  assert.match(
    said.join("\n"),
    /closed .*open to other users.* 644; if others may have read it, delete it\nclosed .*wide to other users.* 775$/,
  );
  mkdirSync(join(root, "tmp"));
  chmodSync(join(root, "tmp"), 0o1777);
  makePrivateDirectory(join(root, "tmp"), assert.fail);
  assert.equal(mode(join(root, "tmp")), 0o777);
  assert.equal(readPrivate(join(root, "missing"), assert.fail), null);
});

test("the socket of a training attempt is its owner's, whatever the umask", async () => {
  const before = process.umask(0);
  try {
    const server = createServer();
    await socketPlace(join(root, "s.sock")).open(server);
    assert.equal(mode(join(root, "s.sock")) & 0o077, 0);
    server.close();
    await once(server, "close");
    assert.equal(
      withPrivateFiles(() => process.umask()),
      0o077,
    );
    assert.equal(process.umask(), 0);
  } finally {
    process.umask(before);
  }
});
