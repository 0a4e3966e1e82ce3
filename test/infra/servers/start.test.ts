import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { answers, choosePorts, S3_PORTS, TEMPORAL_PORTS } from "../../../infra/servers/ports.js";
import { startS3, startTemporal } from "../../../infra/servers/start.js";
import { s3Store } from "../../../infra/store/s3.js";
import { readAll } from "../../../infra/store/store.js";

const home = mkdtempSync(join(tmpdir(), "roslin-servers-"));
after(() => rmSync(home, { recursive: true }));
const { tools, variables } = readEnvironment(process.env, CHECKOUT);
const options = { home, tools, variables };

test("ports are the preferred ones if free, and the same ones again as long as they are free", async () => {
  const elsewhere = join(home, "ports");
  const free = await choosePorts(elsewhere, TEMPORAL_PORTS);
  assert.deepEqual(await choosePorts(elsewhere, TEMPORAL_PORTS, { temporal: 7233 }), free);
  const s3 = await choosePorts(elsewhere, S3_PORTS);
  assert.equal(new Set([...Object.values(s3), ...Object.values(free)]).size, 7);

  const taken = createServer().listen(free.ui, "127.0.0.1");
  await once(taken, "listening");
  const others = await choosePorts(elsewhere, TEMPORAL_PORTS);
  taken.close();
  assert.equal(others.temporal, free.temporal);
  assert.notEqual(others.ui, free.ui);
  assert.deepEqual(await choosePorts(join(home, "other"), TEMPORAL_PORTS, free), free);
});

test("S3 starts with its bucket, keeps what was written over a restart, refuses strangers, and leaves nothing behind", async () => {
  const first = await startS3({ ...options, bucket: "roslin" });
  const { endpoint, region, accessKeyId, secretAccessKey } = first;
  const access = { endpoint, region, credentials: { accessKeyId, secretAccessKey } };
  try {
    await s3Store("roslin", "", access).write("greeting", Buffer.from("hello"));
    await assert.rejects(s3Store("another", "", access).write("greeting", Buffer.from("hello")), /bucket/);
    await assert.rejects(
      s3Store("roslin", "", { ...access, credentials: { accessKeyId, secretAccessKey: "wrong" } }).write("greeting", Buffer.from("hi")),
    );
    assert.equal(statSync(join(home, "s3-keys.json")).mode & 0o777, 0o600);
  } finally {
    await first.stop();
  }
  const port = Number(new URL(endpoint).port);
  assert.equal(await answers(port), false);
  assert.deepEqual(
    readdirSync("/tmp").filter((name) => name.startsWith("seaweedfs-") && name.includes(`${port}`)),
    [],
  );
  const second = await startS3({ ...options, bucket: "roslin" });
  try {
    assert.equal(second.endpoint, endpoint);
    assert.equal(Buffer.from((await readAll(s3Store("roslin", "", access), "greeting"))!).toString(), "hello");
  } finally {
    await second.stop();
  }
});

test("Temporal starts with its UI and search attributes, at the same address again", async () => {
  const searchAttributes = { RoslinTest: "Keyword" };
  const first = await startTemporal({ ...options, searchAttributes });
  try {
    const attributes = await fetch(`${first.uiAddress}/api/v1/namespaces/default/search-attributes`);
    assert.match(await attributes.text(), /RoslinTest/);
  } finally {
    await first.stop();
  }
  const second = await startTemporal({ ...options, searchAttributes });
  await second.stop();
  assert.equal(second.address, first.address);
  assert.equal(await answers(Number(first.address.split(":")[1])), false);
});
