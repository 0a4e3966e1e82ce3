import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { processStart } from "../../../infra/process/process-start.js";

const root = mkdtempSync(join(tmpdir(), "roslin-with-s3-"));
after(() => rmSync(root, { recursive: true }));

// it never listens, and says that it was asked to stop instead of stopping
const weed = join(root, "weed");
writeFileSync(weed, "#!/bin/sh\ntrap 'echo asked' TERM\necho pid $$\nwhile :; do sleep 1; done\n", { mode: 0o755 });
// an upload that was begun, and that no run needs
const uploads = join(root, "stages", "publish", "0123", "uploads");
mkdirSync(uploads, { recursive: true });
writeFileSync(join(uploads, "journal"), "");
writeFileSync(join(root, "config.json"), "{}");

for (const args of [
  ["verify", "s3://roslin/model"],
  ["gc", "--yes", "--dir", join(root, "stages"), "--config", join(root, "config.json")],
]) {
  const name = args[0]!;
  const what = `a Ctrl-C is heard while ${name}'s own S3 server starts, and a second one leaves no server behind`;
  test(what, { timeout: 120_000 }, async (context) => {
    const home = join(root, name);
    const env = { ...process.env, ROSLIN_HOME: home, ROSLIN_S3: "local", WEED_PATH: weed };
    const child = spawn(process.execPath, [join(import.meta.dirname, "../main-child.js"), ...args], { env, stdio: "ignore" });
    const ended = once(child, "close");
    /** What the server says, when it has said it. */
    const said = async (words: RegExp): Promise<string> => {
      for (;;) {
        const found = words.exec(logOf(home));
        if (found !== null) return found[0];
        assert.ok(child.exitCode === null && child.signalCode === null, "the command ended before its time");
        await sleep(10);
      }
    };
    const pid = Number((await said(/^pid \d+\n/)).slice(4));
    context.after(() => {
      child.kill("SIGKILL");
      if (processStart(pid) !== null) process.kill(-pid, "SIGKILL");
    });
    child.kill("SIGINT");
    await said(/asked/);
    child.kill("SIGINT");
    assert.deepEqual(await ended, [1, null]);
    while (processStart(pid) !== null) await sleep(10);
  });
}

function logOf(home: string): string {
  try {
    return readFileSync(join(home, "logs", "s3.log"), "utf8");
  } catch {
    return "";
  }
}
