import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { get, type Refused, type Site } from "../../../infra/http/web.js";
import { serve } from "./serve.js";

const timing = { stallMs: 5000, retryMs: 1 };
const plain: Site = { name: "the server", headersFor: () => ({}), followsHead: () => true, refusal: () => null };

test("headers are asked for at every address that redirects lead to, and messages name the site", async (context) => {
  const heard: (string | undefined)[] = [];
  const other = await serve(context, (request, response) => {
    heard.push(request.headers.authorization);
    response.writeHead(request.url === "/circle" ? 302 : 418, { location: "/circle" }).end();
  });
  const first = await serve(context, (request, response) => {
    heard.push(request.headers.authorization);
    response.writeHead(302, { location: `${other}${request.url}` }).end();
  });
  const refused: Refused[] = [];
  const site: Site = {
    ...plain,
    name: "the shop",
    headersFor: ({ origin }) => (origin === first ? { authorization: "secret" } : {}),
    refusal: (answer) => {
      refused.push(answer);
      return null;
    },
  };
  await assert.rejects(
    get(site, `${first}/tea?signature=s`, {}, () => undefined),
    {
      name: "UserError",
      message: `the shop gave an unexpected answer [url=${first}/tea, answered=${other}, status=418]`,
    },
  );
  assert.deepEqual(heard, ["secret", undefined]);
  assert.equal(refused[0]!.last.href, `${other}/tea?signature=s`);
  await assert.rejects(
    get(site, `${first}/circle`, {}, () => undefined),
    { message: /^the shop redirects in circles/ },
  );
  await assert.rejects(
    get(plain, `${first}/tea`, {}, () => undefined),
    { message: /^the server gave an unexpected answer/ },
  );
});

test("a server is not blamed for time that the reader of its bytes needs", async (context) => {
  const endpoint = await serve(context, (_request, response) => void response.end("x".repeat(100)));
  const read = async (room: object): Promise<void> => {
    let got = 0;
    await get({ ...plain, timing: { stallMs: 1000, retryMs: 1 } }, `${endpoint}/x`, room, async (chunk) => {
      await sleep(2500);
      got += chunk.length;
    });
    assert.equal(got, 100);
  };
  await Promise.all([read({}), read({ room: () => null })]);
});

test("a reader that cannot take a chunk ends the answer, whichever client reads it", async (context) => {
  let closed = Promise.resolve<unknown>(null);
  const endpoint = await serve(context, (_request, response) => {
    closed = once(response, "close");
    response.writeHead(200, { "content-length": 100 }).write("x");
  });
  const full = new Error("full");
  const refuse = (): never => {
    throw full;
  };
  for (const room of [{}, { room: () => null }])
    for (const consume of [refuse, () => Promise.reject(full)]) {
      await assert.rejects(get({ ...plain, timing }, `${endpoint}/x`, room, consume), { cause: full });
      await closed;
    }
});
