import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { writeState } from "../../../cli/machine/up-state.js";
import { getTool, WEED } from "../../../infra/servers/tools.js";
import { listeningPorts } from "../../../infra/servers/listeners.js";
import { choosePorts, S3_PORTS } from "../../../infra/servers/ports.js";
import { s3Server } from "../../../infra/servers/s3-server.js";
import { launch, stopAll, untilReady, type Running } from "../../../infra/servers/service.js";
import { s3Store } from "../../../infra/store/s3-store.js";
import { readAll } from "../../../infra/store/store.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";

/** The local S3 server answers nobody without its keys, at any of its ports. */

const SECRET = "words that nobody else may read";
const home = mkdtempSync(join(tmpdir(), "roslin-closed-"));
let running: Running;
let ports: Awaited<ReturnType<typeof choosePorts<(typeof S3_PORTS)[number]>>>;
let store: ReturnType<typeof s3Store>;
const said: string[] = [];

before(async () => {
  const { tools, variables } = readEnvironment(process.env, CHECKOUT);
  const { signal } = new AbortController();
  const binary = await getTool(WEED, { directory: tools, variables }, () => {}, signal);
  ports = await choosePorts(home, S3_PORTS);
  const { service, access } = s3Server({ binary, home, bucket: "roslin", ports, variables, say: (line) => said.push(line) });
  running = await launch(service);
  await untilReady(running, signal);
  const { endpoint, region, accessKeyId, secretAccessKey } = access;
  store = s3Store("roslin", "", { endpoint, region, credentials: { accessKeyId, secretAccessKey } });
  await store.write("secret", Buffer.from(SECRET));
});
after(async () => {
  if (running !== undefined) await stopAll([running]);
  rmSync(home, { recursive: true });
});

/** What an unsigned HTTP request gets; null: no HTTP answer. */
async function ask(port: number, method: string, path: string): Promise<{ readonly status: number; readonly text: string } | null> {
  const body = method === "PUT" || method === "POST" ? { body: "written by a stranger" } : {};
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...body, signal: AbortSignal.timeout(5000) });
    return { status: response.status, text: await response.text() };
  } catch {
    return null;
  }
}

/** A gRPC call without arguments, over TLS showing a certificate or none; null: the connection is refused. */
async function call(port: number, path: string, scheme: "http" | "https", pem?: string): Promise<number | null> {
  const shown = pem === undefined ? {} : { cert: pem, key: pem };
  const session = connectHttp2(`${scheme}://127.0.0.1:${port}`, { rejectUnauthorized: false, ...shown });
  try {
    return await new Promise((resolve) => {
      session.on("error", () => resolve(null)).on("close", () => resolve(null));
      const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" });
      stream.on("response", ({ ":status": status }) => resolve(status ?? null));
      stream.on("error", () => resolve(null)).setTimeout(10_000, () => resolve(-1));
      stream.end(Buffer.alloc(5));
    });
  } finally {
    session.destroy();
  }
}

test("an unsigned request cannot list, read, write or delete an object at any port, and no port but those is open", async () => {
  const open = [...(await listeningPorts(running.id.pid))].sort((a, b) => a - b);
  const known = Object.values(ports).flatMap((port) => [port, port + 10_000]);
  assert.deepEqual(
    open,
    known.sort((a, b) => a - b),
  );
  const paths = [
    ...["/", "/roslin", "/roslin/", "/roslin?list-type=2", "/roslin/secret", "/buckets", "/buckets/roslin/", "/buckets/roslin/secret"],
    ...[
      "/buckets/roslin?metadata=true",
      "/dir/assign",
      "/dir/status",
      "/dir/lookup?volumeId=1",
      "/vol/status",
      "/submit",
      "/ui/index.html",
    ],
    ...["/1,01637037d6", "/1/01637037d6", "/status", "/metrics", "/stats/disk", "/api/buckets", "/.tus", "/col/delete?collection=roslin"],
    ...["/?Action=ListUsers&Version=2010-05-08", "/?Action=CreateAccessKey&UserName=admin&Version=2010-05-08"],
  ];
  for (const port of open)
    for (const path of paths) {
      for (const method of ["GET", "HEAD"]) {
        const got = await ask(port, method, path);
        assert.ok(!got?.text.includes(SECRET), `${method} ${port} ${path} reads`);
        const listed = got !== null && got.status < 300 && /<Key>|"FullPath"|<ListBucket|AccessKeyId>|"fid"/.test(got.text);
        assert.ok(!listed, `${method} ${port} ${path} lists: ${got?.text}`);
      }
      for (const method of ["PUT", "POST", "DELETE"]) {
        const got = await ask(port, method, path);
        // the pages that say how the parts are answer to any method
        const start = (answer: typeof got): string | undefined => answer?.text.slice(0, 60);
        const harmless = got?.status === 200 && start(await ask(port, "GET", path)) === start(got);
        assert.ok(got === null || got.status >= 400 || harmless, `${method} ${port} ${path} answers ${got?.status}: ${got?.text}`);
      }
    }
  assert.deepEqual(
    (await store.list("")).map(({ key }) => key),
    ["secret"],
  );
  assert.equal(Buffer.from((await readAll(store, "secret"))!).toString(), SECRET);
});

test("the parts' gRPC ports take only callers with the certificate", async () => {
  const path = "/filer_pb.SeaweedFiler/GetFilerConfiguration";
  const pem = readFileSync(join(home, "s3-tls.pem"), "utf8");
  for (const port of Object.values(ports).map((port) => port + 10_000)) {
    assert.equal(await call(port, path, "https"), null, `${port} answers a stranger`);
    assert.equal(await call(port, path, "http"), null, `${port} answers without TLS`);
    assert.equal(await call(port, path, "https", pem), 200, `${port} refuses its own certificate`);
  }
  const { subject, issuer, ca, validTo } = new X509Certificate(pem);
  assert.deepEqual([subject, issuer, ca], ["CN=roslin", "CN=roslin", true]);
  assert.ok(Date.parse(validTo) > Date.now() + 5 * 365 * 86_400_000);
});

test("keys, certificate, state, data and sockets are closed to other users, and a home that was open is closed with a note", async () => {
  assert.deepEqual(said, []);
  await writeState(home, { supervisor: running.id, temporal: null, s3: null, processes: [] });
  const sockets = readdirSync("/tmp")
    .filter((name) => Object.values(ports).some((port) => new RegExp(`^seaweedfs-.*-(${port}|${port + 10_000})\\.sock$`).test(name)))
    .map((name) => join("/tmp", name));
  assert.ok(sockets.length >= 5);
  const files = ["s3-keys.json", "s3-tls.pem", "up.json", "s3", "logs/s3.log"].map((name) => join(home, name));
  for (const path of [...files, ...sockets]) assert.equal(statSync(path).mode & 0o077, 0, path);

  chmodSync(join(home, "s3-keys.json"), 0o644);
  const notes: string[] = [];
  s3Server({ binary: "weed", home, bucket: "roslin", ports, variables: {}, say: (line) => notes.push(line) });
  assert.equal(statSync(join(home, "s3-keys.json")).mode & 0o777, 0o600);
  assert.match(
    notes.join(),
    /^closed .*s3-keys\.json to other users of this machine: it held permissions 644; if others may have read it, delete it/,
  );
});
