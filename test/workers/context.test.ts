import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { text } from "node:stream/consumers";
import { gpuQueue } from "../../workflows/contract.js";
import { register } from "../../workers/lease-client.js";
import { HOST, quickConfig, startPlace, type Place } from "../workflows/place.js";

let place: Place;
before(async () => {
  place = await startPlace();
});
after(async () => {
  await place.clear();
  await place.stop();
});

test("work that has hung and does not stop takes its worker with it, and another goes on", { timeout: 120_000 }, async (t) => {
  await place.pipeline();
  const queue = gpuQueue(HOST, 0);
  const hung = spawn(process.execPath, [join(import.meta.dirname, "hung-child.js"), place.address, queue], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.after(() => hung.kill("SIGKILL"));
  await register(place.client, { queue, host: HOST, slot: 0, of: 1, started: 1 });
  const run = await place.start("hung", quickConfig({ workers: { min: 1, waitSeconds: 60 } }));
  const [said, [code]] = await Promise.all([text(hung.stderr), once(hung, "exit")]);
  assert.match(said, /^train-0-g1 has hung, and does not stop: this worker ends/m);
  assert.equal(code, 1);

  await place.gpu(0, 1, async () => ({ status: "finished", step: 4 }));
  assert.equal((await run.result()).trainingAttempts, 2);
});
