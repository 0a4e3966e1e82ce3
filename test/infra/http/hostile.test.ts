import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { get, type Site } from "../../../infra/http/web.js";

/** A server, or a proxy, that deals with each connection's first bytes as `answer` says. Gives its address. */
async function serve(context: TestContext, answer: (socket: Socket) => void): Promise<string> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined).once("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const timing = { stallMs: 30_000, retryMs: 1 };
const site: Site = { name: "the server", timing, headersFor: () => ({}), followsHead: () => true, refusal: () => null };
/** A site that is given up soon. */
const impatient: Site = { ...site, timing: { ...timing, stallMs: 400 } };
/** Bodies are read by our own client where memory is offered for them, else by Node's. */
const CLIENTS = [{ room: () => null }, {}];

async function bodyOf(url: string, room: (typeof CLIENTS)[number], through: Site = site): Promise<string> {
  let text = "";
  await get(through, url, room, (chunk) => void (text += chunk.toString("latin1")));
  return text;
}

const head = (...lines: string[]): string => `HTTP/1.1 ${lines.join("\r\n")}\r\n\r\n`;

for (const [name, sent, expected] of [
  [
    "an answer in chunks with trailers",
    `${head("200 OK", "connection: close", "transfer-encoding: chunked", "trailer: x")}3\r\nabc\r\n0\r\nx: y\r\n\r\n`,
    "abc",
  ],
  [
    "an answer after 100 Continue and 103 Early Hints",
    `${head("100 Continue")}${head("103 Early Hints")}${head("200 OK", "connection: close", "content-length: 3")}abc`,
    "abc",
  ],
  ["an answer without a length, ended by its connection", `${head("200 OK", "connection: close")}abc`, "abc"],
] as const)
  test(`${name} arrives whole`, async (context) => {
    const url = await serve(context, (socket) => socket.end(sent));
    for (const room of CLIENTS) assert.equal(await bodyOf(`${url}/x`, room), expected);
  });

for (const [name, sent] of [
  ["closed in its head", "HTTP/1.1 200 OK\r\ncontent-le"],
  ["closed in its body", `${head("200 OK", "content-length: 10")}abc`],
  ["closed in a chunk", `${head("200 OK", "transfer-encoding: chunked")}a\r\nabc`],
  ["no HTTP at all", "SSH-2.0-OpenSSH_9.6\r\n\r\n"],
  ["a length that is not a number", `${head("200 OK", "content-length: 3x")}abc`],
  ["a head without an end", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(20_000)}`],
] as const)
  test(`an answer with ${name} is a failure that may pass`, async (context) => {
    const url = await serve(context, (socket) => socket.end(sent));
    for (const room of CLIENTS)
      await assert.rejects(
        bodyOf(`${url}/x?signature=s`, room),
        (error: Error) => error.constructor.name === "PassingError" && !error.message.includes("signature"),
      );
  });

test("a body that goes on beyond its length gives no more than its length", async (context) => {
  const url = await serve(context, (socket) => socket.write(`${head("200 OK", "content-length: 3")}abcdef`));
  for (const room of CLIENTS) {
    const got = await bodyOf(`${url}/x`, room).catch((error: Error) => error.constructor.name);
    assert.match(got, /^(abc|PassingError)$/);
  }
});

test("a head that never ends is given up before it fills the memory", async (context) => {
  let sent = 0;
  const url = await serve(context, (socket) => {
    socket.write("HTTP/1.1 200 OK\r\n");
    const line = `x: ${"y".repeat(10_000)}\r\n`;
    const more = (): void => {
      sent += line.length;
      if (!socket.destroyed) socket.write(line, () => setImmediate(more));
    };
    more();
  });
  for (const room of CLIENTS) await assert.rejects(bodyOf(`${url}/x`, room), { message: /^http/ });
  assert.ok(sent < 2 ** 24);
});

test("a head that comes byte by byte, or a body that stops, is given up after the time without bytes", async (context) => {
  const slow = await serve(context, (socket) => {
    const ticking = setInterval(() => socket.write("H"), 50);
    socket.on("close", () => clearInterval(ticking));
  });
  const stopped = await serve(context, (socket) => socket.write(`${head("200 OK", "content-length: 10")}abc`));
  for (const url of [slow, stopped])
    for (const room of CLIENTS)
      await assert.rejects(bodyOf(`${url}/x`, room, impatient), (error: Error) => error.constructor.name === "PassingError");
});

test("redirects in circles, and to what is not http, end the request for good", async (context) => {
  let asked = 0;
  const circle = await serve(context, (socket) => socket.end(head("302 Found", `location: /x${++asked}`, "content-length: 0")));
  const file = await serve(context, (socket) => socket.end(head("302 Found", "location: file:///etc/passwd", "content-length: 0")));
  for (const room of CLIENTS) {
    asked = 0;
    await assert.rejects(bodyOf(`${circle}/x`, room), { name: "UserError", message: /redirects in circles/ });
    assert.equal(asked, 11);
    await assert.rejects(bodyOf(`${file}/x`, room), { name: "UserError", message: /neither http nor https/ });
  }
});

test("a proxy that refuses a request, or closes or does not answer a tunnel, is a failure that names what failed", async (context) => {
  const refusing = await serve(context, (socket) => socket.end(head("407 Proxy Authentication Required", "content-length: 0")));
  const closing = await serve(context, (socket) => socket.destroy());
  const left: Promise<unknown>[] = [];
  const silent = await serve(context, (socket) => void left.push(once(socket.resume(), "close")));
  const through = (proxy: string, which = site): Site => ({ ...which, proxy: { http: proxy, https: proxy, except: "" } });
  for (const room of CLIENTS) {
    await assert.rejects(bodyOf("https://hub.test/x", room, through(refusing)), { message: /answered 407 to CONNECT hub\.test:443/ });
    await assert.rejects(bodyOf("http://hub.test/x", room, through(refusing)), { message: /status=407/ });
    await assert.rejects(bodyOf("https://hub.test/x", room, through(closing)), { message: /the proxy 127\.0\.0\.1:\d+ cannot be reached/ });
    await assert.rejects(bodyOf("https://hub.test/x", room, through(silent, impatient)), { message: /no byte for 0\.4 s/ });
    await assert.rejects(bodyOf("http://hub.test/x", room, through(silent, impatient)), { message: /no byte for 0\.4 s/ });
  }
  await Promise.all(left);
  assert.equal(left.length, 4);
});
