import { createServer, request, type IncomingHttpHeaders, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { openStore } from "../../../infra/store/open-store.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";
import { signedAnew } from "./resign.js";

/** Kinds of servers that speak S3 in their own way: SeaweedFS behind a server that changes what is asked and what is answered. */

/** A call, whole. */
export interface KindCall {
  readonly method: string;
  /** "" for the bucket itself */
  readonly key: string;
  readonly query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

interface Answer {
  readonly status: number;
  readonly code: string;
  readonly said?: string;
}

/** In what a kind differs. */
export interface Kind {
  /** An answer in the server's place; null: the server is asked, with the call as it is then. */
  ask?(call: KindCall): Answer | null | Promise<Answer | null>;
  /** Changes the headers of an answer. */
  answer?(call: KindCall, headers: IncomingHttpHeaders): void;
  /** whether objects are read from another server */
  readonly redirects?: boolean;
  /** before every bucket's name */
  readonly path?: string;
}

type Settings = S3Settings & { readonly endpoint: string };

/** Runs `work` with the settings of a server of that kind. */
export async function withKind<T>(
  server: Settings,
  kind: Kind,
  work: (settings: Settings, calls: readonly KindCall[]) => Promise<T>,
): Promise<T> {
  const calls: KindCall[] = [];
  const cdn = kind.redirects === true ? await listen(cdnOf(server)) : null;
  const front = await listen(
    createServer((incoming, outgoing) => {
      void (async () => {
        const url = new URL(incoming.url!.slice(kind.path?.length ?? 0), server.endpoint);
        const { method = "GET", headers } = incoming;
        const key = url.pathname.split("/").slice(2).map(decodeURIComponent).join("/");
        const call: KindCall = { method, key, query: url.searchParams, headers: { ...headers }, body: await bodyOf(incoming) };
        calls.push(call);
        const said = (await kind.ask?.(call)) ?? null;
        if (said !== null) {
          outgoing.writeHead(said.status, { "content-type": "application/xml" });
          const text = `<?xml version="1.0"?><Error><Code>${said.code}</Code><Message>${said.said ?? "said by the test"}</Message></Error>`;
          outgoing.end(method === "HEAD" ? undefined : text);
          return;
        }
        const answer = await pass(server, incoming.url!.slice(kind.path?.length ?? 0), call);
        const changed = { ...answer.headers };
        kind.answer?.(call, changed);
        if (cdn !== null && method === "GET" && key !== "" && !call.query.has("uploadId") && answer.statusCode! < 300) {
          answer.resume();
          // the query is signed: it has to arrive as it is
          outgoing.writeHead(302, { location: `${cdn.url}${url.pathname}?sig=a+b%2Fc&X=~` }).end();
          return;
        }
        outgoing.writeHead(answer.statusCode!, changed);
        answer.pipe(outgoing);
      })().catch(() => outgoing.destroy());
    }),
  );
  try {
    return await work({ ...server, endpoint: front.url + (kind.path ?? "") }, calls);
  } finally {
    front.close();
    cdn?.close();
  }
}

/** Removes headers from a call, and what they say from its body. */
export function strip(call: KindCall, names: RegExp): void {
  call.headers = Object.fromEntries(Object.entries(call.headers).filter(([name]) => !names.test(name)));
  if (names.test("x-amz-checksum-sha256"))
    call.body = Buffer.from(call.body.toString("latin1").replace(/<ChecksumSHA256>.*?<\/ChecksumSHA256>/g, ""), "latin1");
}

/** Whether headers or body of a call have a checksum. */
export function hasChecksum({ headers, body, query, method }: KindCall): boolean {
  const inBody = method === "POST" && query.has("uploadId") && body.includes("Checksum");
  return inBody || Object.keys(headers).some((name) => /^x-amz-(sdk-)?checksum/.test(name) && name !== "x-amz-checksum-mode");
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function pass({ endpoint, credentials }: Settings, path: string, { method, headers, body }: KindCall): Promise<IncomingMessage> {
  const { hostname, port } = new URL(endpoint);
  const unsigned = method === "PUT" || method === "POST" ? { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" } : {};
  const length = body.length > 0 || headers["content-length"] !== undefined ? { "content-length": String(body.length) } : {};
  const signed = signedAnew(method, path, { ...headers, ...length, ...unsigned }, credentials!.secretAccessKey);
  return new Promise((resolve, reject) => {
    request({ hostname, port, method, path, headers: signed, agent: false }, resolve).on("error", reject).end(body);
  });
}

/** A server of objects for all who know their address; it answers credentials, and an address that was changed, with 403. */
function cdnOf(server: Settings): Server {
  return createServer((incoming, outgoing) => {
    void (async () => {
      const { headers } = incoming;
      const url = new URL(incoming.url!, "http://cdn");
      const foreign = Object.keys(headers).filter((name) => name === "authorization" || name.startsWith("x-amz-"));
      if (foreign.length > 0 || url.search !== "?sig=a+b%2Fc&X=~") return outgoing.writeHead(403).end();
      const [, bucket, ...key] = url.pathname.split("/").map(decodeURIComponent);
      const store = openStore(`s3://${bucket}`, server);
      const chunks: Uint8Array[] = [];
      for await (const chunk of (await store.read(key.join("/"))) ?? []) chunks.push(chunk);
      const whole = Buffer.concat(chunks);
      const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
      const start = Number(range?.[1] ?? 0);
      const end = range?.[2] ? Number(range[2]) + 1 : whole.length;
      const part = whole.subarray(start, end);
      const at = range === null ? {} : { "content-range": `bytes ${start}-${start + part.length - 1}/${whole.length}` };
      return outgoing.writeHead(range === null ? 200 : 206, { ...at, "content-length": part.length, etag: '"of-the-cdn"' }).end(part);
    })().catch(() => outgoing.destroy());
  });
}

async function listen(server: Server): Promise<{ readonly url: string; close(): void }> {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
