import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, request as forward, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { hubFetch } from "../../../infra/hub/hub-fetch.js";
import { StaleAddressError } from "../../../infra/hub/refusals.js";

const TOKEN = "hf_onlyforthehub";
const root = await mkdtemp(join(tmpdir(), "roslin-hub-fetch-"));
const servers: Server[] = [];
after(async () => {
  for (const server of servers) server.close().closeAllConnections();
  await rm(root, { recursive: true });
});

/** A server, and what came to it: address, authorization and body. */
async function listen(
  answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void,
): Promise<{ url: string; came: string[] }> {
  const came: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      came.push(`${request.method} ${request.url} ${request.headers.authorization ?? "-"} ${body.length}`);
      answer(request, response, body);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, came };
}

const timing = { stallMs: 300, retryMs: 1 };
const watch = { signal: new AbortController().signal };
const file = join(root, "file");
await writeFile(file, Buffer.alloc(300_000, 7));

test("the token goes to the hub alone, and a file as it is to wherever the hub signs an address", async () => {
  const store = await listen((_request, response) => response.writeHead(200, { etag: '"x"' }).end());
  const hub = await listen((_request, response) => response.end("{}"));
  const send = hubFetch({ endpoint: hub.url, token: TOKEN, timing }, "me/m", watch);
  const given = { authorization: "Bearer something" };
  await send(`${hub.url}/api/x`, { method: "POST", body: "{}", headers: given });
  const shares: number[] = [];
  const progressHint = { progressCallback: (share: number) => void shares.push(share) };
  const answer = await send(`${store.url}/put?signature=1`, {
    method: "PUT",
    body: await openAsBlob(file),
    headers: given,
    progressHint,
  } as RequestInit);
  assert.equal(answer.headers.get("etag"), '"x"');
  assert.deepEqual(hub.came, [`POST /api/x Bearer ${TOKEN} 2`]);
  assert.deepEqual(store.came, ["PUT /put?signature=1 - 300000"]);
  assert.ok(shares.length > 1 && shares.every((share) => share <= 0.999));
});

test("a redirect on the hub is followed with the body, and one to another place is not", async () => {
  const elsewhere = await listen((_request, response) => response.end("{}"));
  const hub = await listen(({ url }, response) => {
    if (url === "/old") response.writeHead(307, { location: "/new" }).end();
    else if (url === "/away") response.writeHead(307, { location: `${elsewhere.url}/x` }).end();
    else response.end("{}");
  });
  const send = hubFetch({ endpoint: hub.url, token: TOKEN, timing }, "me/m", watch);
  await send(`${hub.url}/old`, { method: "POST", body: "text" });
  assert.equal(hub.came.at(-1), `POST /new Bearer ${TOKEN} 4`);
  await assert.rejects(
    send(`${hub.url}/away`, { method: "POST", body: "text" }),
    /redirects what is published to another place: set HF_ENDPOINT/,
  );
  assert.deepEqual(elsewhere.came, []);
});

test("requests go through the proxy, the token only to the hub behind it", async () => {
  const hub = await listen((_request, response) => response.end("{}"));
  const proxy = await listen(({ url, method, headers }, response, body) => {
    forward(url!, { method, headers }, (answer) => void answer.pipe(response)).end(body);
  });
  const access = { endpoint: hub.url, token: TOKEN, timing, proxy: { http: proxy.url, https: null, except: "" } };
  await hubFetch(access, "me/m", watch)(`${hub.url}/api/x`, { method: "POST", body: "text" });
  assert.deepEqual(proxy.came, [`POST ${hub.url}/api/x Bearer ${TOKEN} 4`]);
  assert.deepEqual(hub.came, [`POST /api/x Bearer ${TOKEN} 4`]);
});

test("a server that says nothing is given up and asked again, a signature stands in no message, and a refusal in the middle of a body is heard", async () => {
  let silent = 1;
  const hub = await listen((_request, response) => {
    if (silent-- > 0) return;
    response.writeHead(403).end("no");
  });
  const notes: string[] = [];
  const send = hubFetch({ endpoint: hub.url, token: TOKEN, timing: { stallMs: 30, retryMs: 1 } }, "me/m", {
    ...watch,
    onNote: (note) => notes.push(note),
  });
  const failure: unknown = await send(`${hub.url}/put?signature=secret`, { method: "PUT", body: await openAsBlob(file) }).catch(
    (error: unknown) => error,
  );
  assert.ok(failure instanceof StaleAddressError);
  assert.match(notes.join(), /no byte for 0 s; trying again/);
  assert.doesNotMatch(`${notes.join()} ${failure.message}`, /secret/);

  const hasty = createServer((_request, response) => void response.writeHead(413, { connection: "close" }).end('{"error":"too much"}'));
  servers.push(hasty);
  await new Promise<void>((resolve) => hasty.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(hasty.address() as AddressInfo).port}`;
  await assert.rejects(
    hubFetch(
      { endpoint: url, token: TOKEN, timing },
      "me/m",
      watch,
    )(`${url}/x`, { method: "POST", body: new Blob([Buffer.alloc(50_000_000)]) }),
    (error) => error instanceof UserError && /a file is larger than the hub/.test(error.message),
  );
});
