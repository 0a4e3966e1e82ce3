import assert from "node:assert/strict";
import { test } from "node:test";
import { explained } from "../../../cli/shell/system-errors.js";
import { UserError } from "../../../core/errors.js";

test("what the system refused is said with what to do, also when it came as words from a worker process", () => {
  const full = explained(new Error("training was lost 3 times after step 4: ENOSPC: no space left on device, write"), "/runs") as Error;
  assert.ok(full instanceof UserError);
  assert.match(full.message, /^the disk is full: make room.* \[directory=\/runs, got=.*step 4: ENOSPC: no space left on device, write\]$/);
  const cause = new Error("a file cannot be written", { cause: new Error("EROFS: read-only file system, open 'x'") });
  assert.match((explained(cause) as Error).message, /read-only: .*\[got=a file cannot be written: EROFS/);
  const mkdir = new Error("ENOENT: no such file or directory, mkdir '/mnt/d'");
  assert.match((explained(mkdir) as Error).message, /read-only.*mkdir '\/mnt\/d'/);
});

test("other errors stay as they are", () => {
  for (const error of [new Error("connect ECONNREFUSED"), new UserError("said already: ENOSPC: no space left"), "words"])
    assert.equal(explained(error), error);
});
