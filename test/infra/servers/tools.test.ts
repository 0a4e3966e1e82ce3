import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { whyFetchFailed } from "../../../infra/python/pip.js";
import { findTool, isAtLeast, TEMPORAL } from "../../../infra/servers/tools.js";

const root = mkdtempSync(join(tmpdir(), "roslin-tools-"));
const fetched = join(root, "tools", "temporal-1.9.1", "temporal");
const onPath = join(root, "bin", "temporal");
after(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => rmSync(root, { recursive: true, force: true }));

const find = (variables: Record<string, string>): Promise<string | null> =>
  findTool(TEMPORAL, { directory: join(root, "tools"), variables: { PATH: `${join(root, "none")}:${join(root, "bin")}`, ...variables } });

test("a tool is looked for in its variable, then on PATH, then among the fetched ones", async () => {
  assert.equal(await find({}), null);
  program(fetched, "1.9.1");
  assert.equal(await find({}), fetched);
  program(onPath, "1.10.0");
  assert.equal(await find({}), onPath);
  program(join(root, "mine"), "1.0.0");
  assert.equal(await find({ TEMPORAL_CLI_PATH: join(root, "mine") }), join(root, "mine"));
});

test("one on PATH that is older than the pinned version is passed over", async () => {
  program(onPath, "1.8.9");
  program(fetched, "1.9.1");
  assert.equal(await find({}), fetched);
});

test("a variable that names no program is an error, not a reason to look elsewhere", async () => {
  program(onPath, "1.9.1");
  await assert.rejects(
    find({ TEMPORAL_CLI_PATH: join(root, "nowhere") }),
    (error: Error) => error instanceof UserError && /TEMPORAL_CLI_PATH/.test(error.message),
  );
});

test("versions are compared as numbers", () => {
  assert.equal(isAtLeast("temporal version 1.10.0 (Server 1.32.0)", "1.9.1"), true);
  assert.equal(isAtLeast("version 8000GB 4.48 pypi linux amd64", "4.48"), true);
  assert.equal(isAtLeast("version 30GB 3.97", "4.48"), false);
  assert.equal(isAtLeast("what?", "4.48"), false);
});

test("a failed fetch is one line that says what to do", () => {
  const failed = (stderr: string, code?: string): string =>
    whyFetchFailed(Object.assign(new Error("failed"), { stderr, ...(code === undefined ? {} : { code }) }), "600 MB");
  assert.match(failed("", "ENOENT"), /install Python 3 with pip/);
  assert.match(failed("/usr/bin/python3: No module named pip"), /apt install python3-pip/);
  assert.match(failed("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"), /disk is full/);
  assert.match(failed("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."), /thrown away/);
  assert.match(failed("WARNING: Retrying … NewConnectionError … Temporary failure in name resolution"), /check the network/);
});

function program(path: string, version: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho temporal version ${version}\n`, { mode: 0o755 });
}
