import assert from "node:assert/strict";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ask } from "../../../infra/http/wire.js";

const never = new AbortController().signal;

/** A server that answers each request on a connection with what `answers` has next; counts connections. */
async function serve(context: TestContext, answers: (string | null)[]): Promise<{ url: URL; connections: () => number }> {
  let connections = 0;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    connections++;
    open.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (request) => {
      assert.match(request.toString(), /^GET \/x\?y=1 HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\na: b\r\n\r\n$/);
      const answer = answers.shift() ?? null;
      if (answer === null) return socket.destroy();
      // in two pieces, cut in the middle of the head
      socket.write(answer.slice(0, 20));
      setImmediate(() => socket.write(answer.slice(20)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/x?y=1`), connections: () => connections };
}

const ok = (body: string, length = body.length): string =>
  `HTTP/1.1 206 Partial Content\r\nContent-Length: ${length}\r\nX-A:  b \r\n\r\n${body}`;

async function bodyOf(url: URL): Promise<string> {
  let text = "";
  await (await ask(url, { a: "b" }, never))!.drain((chunk) => void (text += chunk.toString()));
  return text;
}

test("a connection serves one request after another; where the server has closed it, another is opened", async (context) => {
  const { url, connections } = await serve(context, [ok("one"), ok("two"), ok(""), null, ok("three")]);
  const answer = (await ask(url, { a: "b" }, never))!;
  assert.deepEqual([answer.status, answer.header("x-a"), answer.header("none")], [206, "b", undefined]);
  let text = "";
  await answer.drain((chunk) => void (text += chunk.toString()));
  assert.equal(text, "one");
  assert.deepEqual([await bodyOf(url), await bodyOf(url)], ["two", ""]);
  assert.equal(connections(), 1);
  assert.equal(await bodyOf(url), "three");
  assert.equal(connections(), 2);
});

test("a body that ends early, or goes on beyond what was announced, is an error", async (context) => {
  const { url } = await serve(context, [ok("too long", 3)]);
  await assert.rejects(bodyOf(url), /more bytes came/);
  const cut = await serve(context, []);
  await assert.rejects(bodyOf(cut.url), /closed/);
});

test("a body is received where it is wanted, and waits while somebody is busy with a chunk", async (context) => {
  const length = 3_000_000;
  const { url } = await serve(context, [ok("x".repeat(length)), ok("next")]);
  const body = new Uint8Array(new SharedArrayBuffer(length));
  let [at, inPlace, chunks, busy] = [0, 0, 0, false];
  const room = (): Uint8Array | null => (chunks % 2 === 0 && at < length ? body.subarray(at, at + 5_001) : null);
  const consume = (chunk: Buffer): Promise<void> | undefined => {
    assert.equal(busy, false);
    if (chunk.buffer === body.buffer && chunk.byteOffset === at) inPlace++;
    else body.set(chunk, at);
    at += chunk.length;
    if (++chunks % 5 > 0) return undefined;
    busy = true;
    return sleep(1).then(() => void (busy = false));
  };
  await (await ask(url, { a: "b" }, never))!.drain(consume, room);
  assert.ok(inPlace > 0 && chunks > 5 && body.every((byte) => byte === "x".charCodeAt(0)));
  assert.equal(await bodyOf(url), "next");
});

test("a reader that cannot take a chunk ends the answer", async (context) => {
  const { url } = await serve(context, [ok("body")]);
  await assert.rejects(
    (await ask(url, { a: "b" }, never))!.drain(() => Promise.reject(new Error("full"))),
    { message: "full" },
  );
});

test("a refusal is told by its status; an answer in chunks is left to Node's client", async (context) => {
  const { url } = await serve(context, [
    "HTTP/1.1 302 Found\r\nLocation: /y\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  ]);
  const moved = (await ask(url, { a: "b" }, never))!;
  assert.deepEqual([moved.status, moved.header("location")], [302, "/y"]);
  moved.discard();
  assert.equal(await ask(url, { a: "b" }, never), null);
});

test("an abort ends a request that nobody answers", async (context) => {
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => server.close());
  const stop = new AbortController();
  const asked = ask(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`), {}, stop.signal);
  setTimeout(() => stop.abort(), 50);
  await assert.rejects(asked, /aborted/);
});
