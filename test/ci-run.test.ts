import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CHECKOUT } from "../workers/environment.js";

/** The last line of `.ci/run`, over a stand-in for npm whose scripts print what they are told. */

const bin = mkdtempSync(join(tmpdir(), "roslin-ci-"));
after(() => rmSync(bin, { recursive: true }));
writeFileSync(
  join(bin, "npm"),
  `#!${process.execPath}\nconst [words, code] = JSON.parse(process.env.SCRIPTS)[process.argv[3]];\nprocess.stdout.write(words);\nprocess.exitCode = code;\n`,
);
chmodSync(join(bin, "npm"), 0o755);

const summary = (pass: number, fail: number, cancelled = 0): string =>
  `\u001B[34mℹ pass ${pass}\u001B[39m\nℹ fail ${fail}\nℹ cancelled ${cancelled}\n`;

function run(scripts: Readonly<Record<"check" | "test:deepspeed", readonly [string, number]>>): { last: string; code: number | null } {
  const env = { ...process.env, PATH: `${bin}:${process.env["PATH"]}`, SCRIPTS: JSON.stringify(scripts) };
  const { stdout, status } = spawnSync(join(CHECKOUT, ".ci", "run"), { env, encoding: "utf8" });
  return { last: stdout.trimEnd().split("\n").at(-1)!, code: status };
}

test("the counts of both scripts add up", () => {
  assert.deepEqual(run({ check: [summary(900, 0), 0], "test:deepspeed": [summary(20, 0), 0] }), { last: "920 passed, 0 failed", code: 0 });
  assert.deepEqual(run({ check: [summary(899, 1), 1], "test:deepspeed": [summary(18, 2), 1] }), { last: "917 passed, 3 failed", code: 1 });
});

test("lint that fails after its tests, and a set-up that fails before them, count as one each", () => {
  const refused = "roslin: cannot set up DeepSpeed: pip cannot reach its package index\n";
  const { last, code } = run({ check: [summary(900, 0), 1], "test:deepspeed": [refused, 2] });
  assert.deepEqual([last, code], ["900 passed, 2 failed", 1]);
});

test("a test that ran into its timeout has failed", () => {
  const { last, code } = run({ check: [summary(900, 0), 0], "test:deepspeed": [summary(19, 0, 1), 1] });
  assert.deepEqual([last, code], ["919 passed, 1 failed", 1]);
});

test("a suite that fails is no reason to leave the other one out, and a suite of which nothing was counted has failed", () => {
  const { last, code } = run({ check: ["", 1], "test:deepspeed": [summary(20, 0), 0] });
  assert.deepEqual([last, code], ["20 passed, 1 failed", 1]);
});
