import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { openStore } from "../../../infra/store/open-store.js";
import { readAll } from "../../../infra/store/store.js";

/** An S3 server that sends those who read an object to another server. */

const CONTENT = Buffer.alloc(300_000, "sheep may safely graze ");

interface Seen {
  readonly s3: IncomingMessage[];
  readonly other: IncomingMessage[];
}

/** Reads an object of a server that redirects to one that answers as `answer` does; `etag`: what S3 calls the version. */
async function readRedirected(
  answer: (request: IncomingMessage, response: ServerResponse, at: number) => void,
  etag: string | null = '"of-s3"',
  location = (to: string) => `${to}/object?signature=a%2Fb+c`,
): Promise<Seen & { readonly bytes: Buffer | null; readonly error: unknown }> {
  const seen: Seen = { s3: [], other: [] };
  const other = await listen(createServer((request, response) => answer(request, response, seen.other.push(request) - 1)));
  const s3 = await listen(
    createServer((request, response) => {
      seen.s3.push(request);
      response.writeHead(302, { location: location(other.url), ...(etag === null ? {} : { etag }) }).end();
    }),
  );
  const credentials = { accessKeyId: "key", secretAccessKey: "secret", sessionToken: "token" };
  try {
    const bytes = await readAll(openStore("s3://roslin/p", { endpoint: s3.url, credentials }), "k");
    return { ...seen, bytes, error: null };
  } catch (error) {
    return { ...seen, bytes: null, error };
  } finally {
    s3.close();
    other.close();
  }
}

async function listen(server: Server): Promise<{ readonly url: string; close(): void }> {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => server.close(() => undefined).closeAllConnections(),
  };
}

/** Sends what is asked for, and after `most` bytes of it cuts the connection. */
function send(request: IncomingMessage, response: ServerResponse, most = Infinity): void {
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const rest = CONTENT.subarray(start);
  const isRange = request.headers.range !== undefined;
  const at = !isRange ? {} : { "content-range": `bytes ${start}-${CONTENT.length - 1}/${CONTENT.length}` };
  response.writeHead(isRange ? 206 : 200, { ...at, "content-length": rest.length, etag: '"of-the-cdn"' });
  if (rest.length <= most) response.end(rest);
  else response.write(rest.subarray(0, most), () => response.destroy());
}

test("the other server is asked as S3 says, and hears no credential", async () => {
  const { bytes, other } = await readRedirected((request, response) => send(request, response));
  assert.ok(bytes?.equals(CONTENT));
  assert.equal(other[0]!.url, "/object?signature=a%2Fb+c");
  const told = Object.entries(other[0]!.headers).filter(
    ([name, value]) => /auth|amz-|token|secret/i.test(name) || /secret|token|AWS4/.test(String(value)),
  );
  assert.deepEqual(told, []);
});

test("a connection to it that is cut goes on at the byte that it reached, with a new address from S3", async () => {
  for (const etag of ['"of-s3"', null]) {
    const { bytes, s3, other, error } = await readRedirected(
      (request, response, at) => send(request, response, at < 2 ? 100_000 : Infinity),
      etag,
    );
    assert.equal(error, null);
    assert.ok(bytes?.equals(CONTENT));
    assert.deepEqual([s3.length, other.length], [3, 3]);
    assert.deepEqual(
      s3.map(({ headers }) => headers["if-match"]),
      [undefined, etag ?? undefined, etag ?? undefined],
    );
  }
});

test("it may be busy for a while", async () => {
  const { bytes, other } = await readRedirected((request, response, at) =>
    at === 0 ? void response.writeHead(503).end() : send(request, response),
  );
  assert.ok(bytes?.equals(CONTENT));
  assert.equal(other.length, 2);
});

test("if it does not know the object, or sends on for ever, the endpoint is what is wrong", async () => {
  for (const answer of [
    (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(403).end(),
    (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(404).end(),
    (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(302, { location: "/again" }).end(),
  ]) {
    const { error, s3, other } = await readRedirected(answer);
    assert.ok(error instanceof UserError, String(error));
    assert.match(error.message, /the S3 endpoint leads elsewhere; set AWS_ENDPOINT_URL_S3/);
    assert.equal(s3.length, 1);
    assert.ok(other.length <= 5);
  }
});

test("an address that is none of http's is not followed", async () => {
  for (const location of ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://"]) {
    const { error, other } = await readRedirected(
      (request, response) => send(request, response),
      null,
      () => location,
    );
    assert.ok(error instanceof UserError && /leads elsewhere/.test(error.message), `${location}: ${String(error)}`);
    assert.equal(other.length, 0);
  }
});

test("a connection to it that is cut before the first byte begins again", async () => {
  const { bytes, other, error } = await readRedirected((request, response, at) => {
    if (at > 0) return send(request, response);
    response.writeHead(200, { "content-length": CONTENT.length });
    response.flushHeaders();
    setTimeout(() => response.destroy(), 100);
  }, null);
  assert.equal(error, null);
  assert.ok(bytes?.equals(CONTENT));
  assert.equal(other[1]!.headers.range, "bytes=0-");
});
