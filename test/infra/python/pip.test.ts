import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";

test("pip ends when the process that called it is killed", { timeout: 60_000 }, async () => {
  const silent = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(silent, "listening");
  after(() => {
    silent.closeAllConnections();
    silent.close();
  });
  const index = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/simple`;
  const child = spawn(process.execPath, [join(import.meta.dirname, "pip-child.js"), index], { stdio: ["ignore", "ignore", "inherit"] });
  const [{ socket }] = (await once(silent, "request")) as [IncomingMessage];
  assert.equal(socket.destroyed, false);
  const closed = once(socket, "close");
  child.kill("SIGKILL");
  // pip itself would wait ten minutes for the answer
  await closed;
});
