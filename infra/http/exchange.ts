import { request as requestHttp, type ClientRequest, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { throughProxy, type ProxySettings } from "./proxy.js";

/** A request with a body of any size, which is sent piece by piece. */
export interface Sending {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Blob | null;
  readonly proxy?: ProxySettings;
  /** a connection in which no byte moves for so many milliseconds is given up */
  readonly idleMs: number;
  readonly signal: AbortSignal;
  /** hears how many bytes of the body have gone out in all */
  readonly onSent?: (bytes: number) => void;
}

/** An answer with its whole body, which is small. */
export interface Exchanged {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Sends one request and reads the answer; follows no redirect. Rejects with what the connection failed with. */
export async function exchange(url: URL, sending: Sending): Promise<Exchanged> {
  const { method, body, proxy, signal, idleMs } = sending;
  const size = body === null ? 0 : typeof body === "string" ? Buffer.byteLength(body) : body.size;
  const headers = { ...sending.headers, "content-length": `${size}` };
  const proxied = proxy === undefined ? null : throughProxy(url, proxy, signal);
  const options = { method, headers, signal, ...proxied?.options };
  const request =
    proxied?.plain === true
      ? requestHttp({ ...options, path: url.href, headers: { ...headers, host: url.host, ...proxied.headers } })
      : (url.protocol === "https:" ? requestHttps : requestHttp)(url, options);
  request.setTimeout(idleMs, () => request.destroy(new Error(`no byte for ${Math.round(idleMs / 1000)} s`)));
  const answered = new Promise<IncomingMessage>((resolve, reject) => void request.on("response", resolve).on("error", reject));
  const sent = send(request, body, sending.onSent);
  // a server that refuses a body answers before it has come, and closes: its answer says more than the failure to send
  sent.catch(() => undefined);
  const response = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const isRefused = (response.statusCode ?? 0) >= 300;
  if (isRefused) request.destroy();
  else await sent;
  const texts = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  return {
    status: response.statusCode ?? 0,
    headers: Object.fromEntries(texts) as Record<string, string>,
    body: Buffer.concat(chunks),
  };
}

async function send(request: ClientRequest, body: string | Blob | null, onSent?: (bytes: number) => void): Promise<void> {
  if (body === null || typeof body === "string") return void request.end(body ?? undefined);
  let bytes = 0;
  await pipeline(
    Readable.fromWeb(body.stream()),
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        yield chunk;
        onSent?.((bytes += chunk.length));
      }
    },
    request,
  );
}
