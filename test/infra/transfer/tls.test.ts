import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash, randomFillSync } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

// a certificate for localhost and 127.0.0.1 that signed itself, made for these tests
const REFERENCE = join(import.meta.dirname, "../../../../test/reference/tls");
const CERTIFICATE = join(REFERENCE, "certificate.pem");
const CHILD = join(import.meta.dirname, "fetch-child.js");
const file = randomFillSync(Buffer.alloc(33 * 2 ** 20 + 77));
const sha256 = createHash("sha256").update(file).digest("hex");

let cuts = 0;
let port: number;
let directory: string;
const server = createServer({});
server.on("request", (request: IncomingMessage, response: ServerResponse) => {
  if (request.url === "/chunked") return response.end(file);
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const [start, end] = from === undefined ? [0, file.length] : [Number(from), Number(to) + 1];
  if (from !== undefined) response.setHeader("content-range", `bytes ${start}-${end - 1}/${file.length}`);
  response.writeHead(from === undefined ? 200 : 206, { "content-length": end - start });
  if (request.url !== "/cut" || ++cuts > 2) return response.end(file.subarray(start, end));
  response.write(file.subarray(start, start + 3_000_001), () => response.destroy());
});

before(async () => {
  server.setSecureContext({ key: await readFile(join(REFERENCE, "key.pem")), cert: await readFile(CERTIFICATE) });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  port = (server.address() as AddressInfo).port;
  directory = await mkdtemp(join(tmpdir(), "roslin-tls-"));
});
after(async () => {
  server.closeAllConnections();
  server.close();
  await rm(directory, { recursive: true });
});

/** What a process of its own says of fetching a file. */
async function fetched(url: string, blob: string, trust: string): Promise<string> {
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: trust };
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, url, join(directory, blob), `${file.length}`, sha256], { env });
  return stdout.trim();
}

for (const [name, path] of [
  ["localhost", "plain"],
  ["127.0.0.1", "cut"],
  ["127.0.0.1", "chunked"],
] as const)
  test(`a file comes over TLS, its length told, cut or in chunks: ${name}/${path}`, async () => {
    assert.equal(await fetched(`https://${name}:${port}/${path}`, path, CERTIFICATE), sha256);
    assert.ok((await readFile(join(directory, path))).equals(file));
    if (path === "cut") assert.ok(cuts >= 3);
  });

test("a certificate that nobody vouches for, or that is another machine's, is not trusted", async () => {
  const untrusted = /the server's certificate is not trusted: put the authority that signed it into NODE_EXTRA_CA_CERTS/;
  assert.match(await fetched(`https://127.0.0.1:${port}/plain`, "unknown", ""), untrusted);
  // another address of this machine, on Linux
  if (process.platform === "linux")
    assert.match(await fetched(`https://127.0.0.2:${port}/plain`, "other", CERTIFICATE), /not trusted.*ERR_TLS_CERT_ALTNAME_INVALID/);
});
