import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { placeFile } from "../../../infra/disk/files.js";

test("a full disk names the file that it had no room for and its size, and leaves nothing of it", async (t) => {
  const root = mkdtempSync(join(tmpdir(), "roslin-files-"));
  t.after(() => rmSync(root, { recursive: true }));
  const full = async (): Promise<void> => {
    if (process.platform === "linux") await writeFile("/dev/full", "x");
    else throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  };
  const path = join(root, "shard.safetensors");
  await assert.rejects(placeFile(path, full, { bytes: 1234 }), {
    code: "ENOSPC",
    message: new RegExp(`ENOSPC: .*\\[file=${path}, need=1\\.2 kB\\]$`),
  });
  assert.deepEqual(readdirSync(root), []);
});
