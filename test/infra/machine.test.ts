import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { socketDirectory } from "../../infra/machine.js";

test("sockets go where their path is not cut, and where there is a directory", (t) => {
  const root = mkdtempSync("/tmp/machine-");
  t.after(() => rmSync(root, { recursive: true }));
  const long = join(root, "x".repeat(100));
  mkdirSync(long);
  assert.equal(socketDirectory([join(root, "none"), long, root]), root);
  assert.equal(socketDirectory([root, "/tmp"]), root);
});
