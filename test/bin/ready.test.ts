import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

interface Ready {
  refuseUnsupported(platform: string, arch: string): void;
  staleDependencies(wanted: unknown, installed: unknown, platform?: string, arch?: string): string | null;
  sourcesDigest(root: string): string;
  orphans(root: string): string[];
  lock(path: string, say: (line: string) => void): Promise<() => void>;
  whyFailed(step: string, code: string | number, said: string): string;
}

const ready = (await import(join(import.meta.dirname, "../../../bin/ready.js"))) as Ready;
const root = mkdtempSync(join(tmpdir(), "roslin-ready-"));
after(() => rmSync(root, { recursive: true }));

suite("what is installed is compared with what the lock file asks for", () => {
  const wanted = {
    packages: {
      "": { name: "roslin" },
      "node_modules/zod": { version: "4.0.0", integrity: "a" },
      "node_modules/native-linux-x64": { version: "1.0.0", integrity: "b", optional: true, os: ["linux"], cpu: ["x64"], libc: ["glibc"] },
      "node_modules/native-darwin-arm64": { version: "1.0.0", integrity: "c", optional: true, os: ["darwin"], cpu: ["arm64"] },
    },
  };
  const installed = {
    packages: {
      "node_modules/zod": { version: "4.0.0", integrity: "a" },
      "node_modules/native-linux-x64": { version: "1.0.0", integrity: "b" },
    },
  };

  test("equal is fresh, though other platforms' packages are missing", () => {
    assert.equal(ready.staleDependencies(wanted, installed, "linux", "x64"), null);
  });
  test("an interrupted installation leaves no record and is stale", () => {
    assert.equal(ready.staleDependencies(wanted, null), "nothing is installed");
  });
  test("another version is stale", () => {
    const other = { packages: { ...installed.packages, "node_modules/zod": { version: "4.0.1", integrity: "d" } } };
    assert.equal(ready.staleDependencies(wanted, other, "linux", "x64"), "node_modules/zod has another version");
  });
  test("modules that were installed on another platform are stale", () => {
    assert.equal(ready.staleDependencies(wanted, installed, "darwin", "arm64"), "node_modules/native-darwin-arm64 is missing");
  });
});

test("the build is stale when a source's name or bytes change, and only then", () => {
  write("tsconfig.json", '{ "include": ["core", "cli"] }');
  write("package-lock.json", "{}");
  write("core/a.ts", "export const a = 1;");
  const before = ready.sourcesDigest(root);
  write("core/notes.md", "no source");
  write("docs/b.ts", "in no folder of tsconfig.json");
  assert.equal(ready.sourcesDigest(root), before);
  write("core/a.ts", "export const a = 2;");
  const changed = ready.sourcesDigest(root);
  assert.notEqual(changed, before);
  write("cli/a.ts", "");
  assert.notEqual(ready.sourcesDigest(root), changed);
});

test("compiled files whose source is gone are found, and no others", () => {
  for (const file of ["core/a.js", "core/a.js.map", "core/gone.js", "core/deep/gone.js.map", "workflow-bundle.js"])
    write(`dist/${file}`, "");
  assert.deepEqual(ready.orphans(root).sort(), [join(root, "dist/core/deep/gone.js.map"), join(root, "dist/core/gone.js")]);
});

test("a second caller waits for the set-up of the first, and a dead one's lock is taken over", async () => {
  const path = join(root, "lock");
  const said: string[] = [];
  const unlock = await ready.lock(path, (line) => said.push(line));
  const second = ready.lock(path, (line) => said.push(line));
  setTimeout(unlock, 300);
  (await second)();
  assert.deepEqual(said, [`waiting for process ${process.pid}, which does the set-up`]);

  const child = spawn(process.execPath, ["-e", ""]);
  const { pid } = child;
  await once(child, "exit");
  const left = `${path}.${pid}.12345.left`;
  writeFileSync(left, "");
  (await ready.lock(path, () => assert.fail("nobody to wait for")))();
  assert.equal(existsSync(left), false);
  assert.deepEqual(
    readdirSync(root).filter((name) => name.startsWith("lock")),
    [],
  );
});

test("of many that see a dead one's lock at once, one at a time has it", async () => {
  const path = join(root, "race");
  writeFileSync(`${path}.999999999.1.left`, "");
  let holders = 0;
  const work = async (): Promise<void> => {
    const unlock = await ready.lock(path, () => undefined);
    assert.equal(++holders, 1);
    await sleep(5);
    holders--;
    unlock();
  };
  await Promise.all(Array.from({ length: 8 }, work));
});

test("an unsupported platform is refused with what to use instead", () => {
  assert.throws(() => ready.refuseUnsupported("win32", "x64"), /WSL 2/);
  assert.throws(() => ready.refuseUnsupported("darwin", "x64"), /macOS on arm64/);
  ready.refuseUnsupported("linux", "arm64");
});

test("a failed step is one line that says what to do", () => {
  assert.match(ready.whyFailed("npm", "ENOENT", ""), /npm is not on PATH/);
  assert.match(ready.whyFailed("npm", 1, "npm error code ENOSPC"), /disk is full/);
  assert.match(ready.whyFailed("npm", 1, "npm error code ENOTFOUND\nnpm error getaddrinfo"), /cannot reach its registry/);
  assert.equal(ready.whyFailed("npm", 1, "npm error code E404\nnpm error 404 no such package"), "npm ci failed: 404 no such package");
  assert.match(ready.whyFailed("tsc", 2, "core/a.ts(1,1): error TS1"), /don't compile:\ncore\/a\.ts/);
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}
