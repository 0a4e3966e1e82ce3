import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { answers, choosePorts, S3_PORTS, TEMPORAL_PORTS } from "../../../infra/servers/ports.js";
import { listeningPorts } from "../../../infra/servers/listeners.js";
import { atFreePorts, httpStatus, launch, stopAll, untilReady, type Service } from "../../../infra/servers/service.js";
import { startS3, startTemporal } from "../../../infra/servers/start.js";
import { s3Store } from "../../../infra/store/s3-store.js";
import { readAll } from "../../../infra/store/store.js";

const home = mkdtempSync(join(tmpdir(), "roslin-servers-"));
after(() => rmSync(home, { recursive: true }));
const { tools, variables } = readEnvironment(process.env, CHECKOUT);
const options = { home, tools, variables, signal: new AbortController().signal };

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
});

test("ports that another process has chosen are not given out, though nothing listens there, until it is gone", async () => {
  const script = `const { choosePorts } = await import(${JSON.stringify(new URL("../../../infra/servers/ports.js", import.meta.url).href)});
    console.log(JSON.stringify(await choosePorts(${JSON.stringify(join(home, "chooser"))}, ["temporal", "ui"])));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  after(() => child.kill("SIGKILL"));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const its = JSON.parse(line.toString()) as { readonly temporal: number; readonly ui: number };
  const ours = await choosePorts(join(home, "other"), TEMPORAL_PORTS, its);
  assert.ok(![its.temporal, its.ui].includes(ours.temporal) && ![its.temporal, its.ui].includes(ours.ui));
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.deepEqual(await choosePorts(join(home, "third"), TEMPORAL_PORTS, its), its);
});

test("a server is ready when it listens itself: another program at its port is no sign of it, and others are tried", async () => {
  const stranger = createHttp((_, response) => response.end("hello")).listen(0, "127.0.0.1");
  after(() => stranger.close());
  await once(stranger, "listening");
  const { port } = stranger.address() as AddressInfo;
  const ports = [port, (await choosePorts(join(home, "free"), ["hub"])).hub];
  const said: string[] = [];
  const running = await atFreePorts(
    async () => {
      const own = ports.shift()!;
      const started = await launch(server(own));
      await untilReady(started, new AbortController().signal).catch(async (error: unknown) => {
        await stopAll([started]);
        throw error;
      });
      assert.deepEqual([...(await listeningPorts(started.id.pid))], [own]);
      return started;
    },
    (words) => said.push(words),
  );
  await stopAll([running]);
  assert.deepEqual(said, [`another program listens at port ${port}, which is meant for web; starting again with other ports`]);
});

/** Answers at a port, or sleeps where that is taken. */
function server(port: number): Service {
  const script = `require("http").createServer((_, response) => response.end("hello")).on("error", () => setInterval(() => {}, 1000)).listen(${port}, "127.0.0.1")`;
  return {
    name: "web",
    command: process.execPath,
    args: ["-e", script],
    variables: process.env,
    log: join(home, "web.log"),
    graceMs: 5000,
    ports: [port],
    ready: async () => (await httpStatus(`http://127.0.0.1:${port}`)) === 200,
  };
}

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
