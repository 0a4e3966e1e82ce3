import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { CHECKOUT } from "../../workers/environment.js";
import { testEnvironment } from "../engines/deepspeed/engine.js";

test("the pure parts of the rank's program", async () => {
  const { python } = await testEnvironment();
  const script = join(CHECKOUT, "test", "engines", "deepspeed", "python", "test_rank.py");
  const { status, stderr } = spawnSync(python, ["-I", "-B", script], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
});
