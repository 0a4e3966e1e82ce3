import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { availableMemory, cgroupRoom, freeDisk, memoryLimit, sharedDirectory, socketDirectory } from "../../../infra/process/machine.js";

test("sockets go where their path is not cut, and where there is a directory", (t) => {
  const root = mkdtempSync("/tmp/machine-");
  t.after(() => rmSync(root, { recursive: true }));
  const long = join(root, "x".repeat(100));
  mkdirSync(long);
  assert.equal(socketDirectory([join(root, "none"), long, root]), root);
  assert.equal(socketDirectory([root, "/tmp"]), root);
});

test("shared memory goes where there is room, and what was left where none is now is still looked for there", () => {
  const full = ["/proc", "/dev"].find((directory) => existsSync(directory) && freeDisk(directory) === 0)!;
  assert.equal(sharedDirectory(1, "/elsewhere", full), "/elsewhere");
  assert.equal(sharedDirectory(0, "/elsewhere", full), full);
  assert.equal(sharedDirectory(0, "/elsewhere", "/no/such/directory"), "/elsewhere");
});

/** Makes a control group's files below a root. */
function group(directory: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), `${text}\n`);
}

test("what a control group already uses is not free, but for what it caches of files", (t) => {
  const root = mkdtempSync("/tmp/machine-");
  t.after(() => rmSync(root, { recursive: true }));
  const own = join(root, "own");
  const room = (text: string): number => {
    writeFileSync(own, text);
    return cgroupRoom(root, own);
  };
  const two = (limit: string, used: number) => ({
    "memory.max": limit,
    "memory.current": `${used}`,
    "memory.stat": "anon 500\nfile 450\nshmem 150\ninactive_anon 200\nactive_anon 300\ninactive_file 100\nactive_file 200",
  });
  group(join(root, "pod", "app"), two("max", 1000));
  assert.equal(room("0::/pod/app\n"), Infinity, "nobody set a limit");
  group(join(root, "pod", "app"), two("2000", 1000));
  assert.equal(room("0::/pod/app\n"), 1300);
  group(join(root, "pod"), two("1600", 1500));
  assert.equal(room("0::/pod/app\n"), 400, "a group around it is tighter");
  group(join(root, "pod"), two("1600", 2500));
  assert.equal(room("0::/pod/app\n"), 0, "its limit was lowered below what it uses");
  group(root, two("5000", 1000));
  assert.equal(room("0::/elsewhere/on/the/host\n"), 4300, "a container's own group lies at the root");

  const one = {
    "memory.limit_in_bytes": "2000",
    "memory.usage_in_bytes": "1000",
    "memory.stat": "inactive_file 1\ntotal_inactive_file 300",
  };
  group(join(root, "memory", "job"), one);
  assert.equal(room("9:cpu:/job\n4:memory:/job\n"), 1300);
  assert.equal(cgroupRoom(root, join(root, "none")), Infinity);
  assert.ok(availableMemory() > 0 && availableMemory() <= memoryLimit());
});
