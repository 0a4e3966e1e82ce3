import assert from "node:assert/strict";
import { once } from "node:events";
import { request, type IncomingMessage, type Server } from "node:http";
import type { Socket } from "node:net";
import { test } from "node:test";
import { PassingError } from "../../../../infra/http/retries.js";
import { getFromHub, isHub, type HubAccess } from "../../../../infra/sources/hub/access.js";
import { serve } from "../../http/serve.js";

const timing = { stallMs: 5000, retryMs: 1 };

async function ask(access: HubAccess, url: string): Promise<string> {
  const chunks: Buffer[] = [];
  await getFromHub(access, url, {}, (chunk) => void chunks.push(chunk));
  return Buffer.concat(chunks).toString();
}

test("what is not found, private, gated or refused says what to do, and never the token", async (context) => {
  let answer: [number, Record<string, string>] = [200, {}];
  const endpoint = await serve(context, (_, response) => response.writeHead(...answer).end("no"));
  const refused = async (token: string | null, ...given: typeof answer): Promise<string> => {
    answer = given;
    let message = "";
    await assert.rejects(ask({ endpoint, token, timing }, `${endpoint}/x?signature=secret`), (error: Error) => {
      message = error.message;
      return error.name === "UserError" && !message.includes("hf_token") && !message.includes("secret");
    });
    return message;
  };
  assert.match(await refused(null, 401, {}), /is wrong, or the repository is private.*set HF_TOKEN.*status=401/);
  assert.match(await refused("hf_token", 401, {}), /token of HF_TOKEN is not valid or may not read it/);
  const gated = { "x-error-code": "GatedRepo", "x-error-message": "Ask for access" };
  assert.match(await refused(null, 401, gated), /gated: accept its conditions.*set HF_TOKEN.*reason=Ask for access/);
  assert.match(await refused("hf_token", 403, gated), /gated.*the one that is set may not read it/);
  assert.match(await refused(null, 404, {}), /no such repository, revision or file/);
});

test("who refuses what the hub redirects to is named: a store may take the next signed address, another hub wants HF_ENDPOINT", async (context) => {
  let answer: [number, Record<string, string>] = [403, {}];
  const seen: (string | undefined)[] = [];
  const other = await serve(context, (incoming, response) => {
    seen.push(incoming.headers.authorization);
    response.writeHead(...answer).end();
  });
  const location = `${other}/x?signature=secret`;
  const endpoint = await serve(context, (_, response) => response.writeHead(302, { location }).end());
  const refused = async (token: string | null): Promise<Error> => {
    try {
      await ask({ endpoint, token, timing }, `${endpoint}/x`);
      throw new Error("it was not refused");
    } catch (error) {
      return error as Error;
    }
  };
  const passing = await refused("hf_token");
  assert.ok(passing instanceof PassingError, String(passing));
  assert.equal(passing.message, `${other} answered 403 to ${endpoint}/x; the token of HF_TOKEN is not sent there`);
  assert.equal((await refused(null)).message, `${other} answered 403 to ${endpoint}/x`);
  answer = [401, { "x-error-code": "RepoNotFound" }];
  const final = await refused("hf_token");
  assert.equal(final.name, "UserError");
  assert.match(
    final.message,
    new RegExp(`a token goes to HF_ENDPOINT alone.*set HF_ENDPOINT.*url=${endpoint}/x, answered=${other}, status=401`),
  );
  answer = [503, {}];
  assert.equal((await refused(null)).message, `${other} answered 503 to ${endpoint}/x`);
  assert.deepEqual([...new Set(seen)], [undefined]);
});

test("the token goes to the endpoint, and to the hub where the endpoint is another name of it", () => {
  const is = (endpoint: string, url: string): boolean => isHub(new URL(url), endpoint);
  for (const name of ["https://hf.co", "http://huggingface.co", "https://www.huggingface.co", "https://huggingface.co"])
    assert.ok(is(name, "https://huggingface.co/api"), name);
  assert.ok(is("http://mirror.test:8080/hub", "http://mirror.test:8080/x"));
  for (const url of ["https://hf.co.evil.test/", "http://huggingface.co/", "https://cdn.huggingface.co/", "https://huggingface.co:444/"])
    assert.ok(!is("https://hf.co", url), url);
  assert.ok(!is("https://mirror.test", "https://huggingface.co/"));
  assert.ok(!is("https://nothf.co", "https://huggingface.co/"));
});

test("a proxy is asked for the whole address of an http hub, with its own name and password", async (context) => {
  const hub = await serve(context, (incoming, response) => response.end(`hub ${incoming.headers.authorization}`));
  const seen: string[] = [];
  const proxy = await serve(context, (incoming, response) => {
    seen.push(`${incoming.url} ${incoming.headers.host} ${incoming.headers["proxy-authorization"]}`);
    request(incoming.url!, { headers: { authorization: incoming.headers.authorization } }, (answer) => answer.pipe(response)).end();
  });
  const http = proxy.replace("//", "//me:p%40ss@");
  const access = { endpoint: hub, token: "t", timing, proxy: { http, https: null, except: "" } };
  assert.equal(await ask(access, `${hub}/api`), "hub Bearer t");
  assert.deepEqual(seen, [`${hub}/api ${new URL(hub).host} Basic ${Buffer.from("me:p@ss").toString("base64")}`]);
  for (const except of ["127.0.0.1", "elsewhere, .0.0.1", "*"])
    assert.equal(await ask({ ...access, proxy: { http, https: null, except } }, `${hub}/api`), "hub Bearer t");
  assert.equal(seen.length, 1, "hosts of NO_PROXY are asked directly");
});

test("to an https hub a tunnel is opened; the proxy's refusal is named", async (context) => {
  const seen: string[] = [];
  const http = await serve(
    context,
    () => undefined,
    (server) =>
      server.on("connect", (incoming: IncomingMessage, socket: Socket) => {
        seen.push(`${incoming.method} ${incoming.url} ${incoming.headers.authorization}`);
        socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      }),
  );
  const access = { endpoint: "https://hub.test", token: "t", timing, proxy: { http: null, https: http, except: "" } };
  await assert.rejects(ask(access, "https://hub.test/api"), /proxy 127\.0\.0\.1:\d+ answered 407 to CONNECT hub\.test:443/);
  assert.deepEqual(seen, ["CONNECT hub.test:443 undefined"], "the token is not the proxy's to see");
  const wrong = { ...access, proxy: { http: null, https: "socks5://u:secret@h:1", except: "" } };
  await assert.rejects(ask(wrong, "https://hub.test/api"), /UserError: a proxy's address must be http:\/\/host:port.*socks5:\/\/…@h:1/);
});

test("a proxy that does not answer CONNECT is left with the request", { timeout: 120_000 }, async (context) => {
  let left = Promise.resolve<unknown>(null);
  const prepare = (server: Server): void => {
    server.on("connect", (_incoming: IncomingMessage, socket: Socket) => {
      context.after(() => socket.destroy());
      left = once(socket.resume(), "end");
    });
  };
  const https = await serve(context, () => undefined, prepare);
  const access = {
    endpoint: "https://hub.test",
    token: null,
    timing: { stallMs: 500, retryMs: 1 },
    proxy: { http: null, https, except: "" },
  };
  await assert.rejects(ask(access, "https://hub.test/api"), /no byte for 0\.5 s from https:\/\/hub\.test\/api/);
  await left;
});
