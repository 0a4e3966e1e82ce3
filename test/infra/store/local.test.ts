import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileStore } from "../../../infra/store/file-store.js";
import { memoryStore } from "../../../infra/store/memory-store.js";
import { storeConformance } from "./conformance.js";

const root = mkdtempSync(join(tmpdir(), "roslin-store-"));
after(() => rmSync(root, { recursive: true }));
const newDirectory = (): string => mkdtempSync(join(root, "s-"));

storeConformance("file", () => Promise.resolve(fileStore(join(newDirectory(), "deep", "er"))));
storeConformance("memory", () => Promise.resolve(memoryStore()));

test("a file store refuses keys that leave it", async () => {
  const store = fileStore(newDirectory());
  for (const key of ["../x", "a/../../x", "/x", "a//b", "", ".unfinished/x"])
    await assert.rejects(store.write(key, Buffer.from("x")), /leave its store/);
});

test("a file store leaves nothing unfinished, and clears what a killed process left", async () => {
  const directory = newDirectory();
  const unfinished = join(directory, ".unfinished");
  mkdirSync(unfinished);
  writeFileSync(join(unfinished, `${hostname()} 4194304 1 left`), "half");
  writeFileSync(join(unfinished, "another-machine 4194304 1 left"), "half");
  const store = fileStore(directory);
  await store.write("a", Buffer.from("x"));
  await store.create("a", Buffer.from("y"));
  assert.deepEqual(readdirSync(unfinished), ["another-machine 4194304 1 left"]);
  assert.deepEqual(await store.list(""), [{ key: "a", bytes: 1 }]);
});
