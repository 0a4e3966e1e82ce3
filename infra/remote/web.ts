import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { messageOf, UserError } from "../../core/errors.js";
import { throughProxy, type ProxySettings } from "./proxy.js";
import { PassingError, TIMING, type Timing } from "./retries.js";

/** Where files are on the web, and who asks. */
export interface WebAccess {
  /** e.g. https://huggingface.co, without a trailing slash */
  readonly endpoint: string;
  readonly token: string | null;
  readonly proxy?: ProxySettings;
  readonly timing?: Timing;
}

const MAX_REDIRECTS = 10;

/** Half-open range of bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * One GET, body and all, handed to `consume` chunk by chunk. Redirects are followed by hand: the token goes to the
 * endpoint's origin only. With `range`, anything but a 206 for exactly these bytes is an error.
 */
export async function get(
  access: WebAccess,
  url: string,
  options: { readonly range?: ByteRange; readonly signal?: AbortSignal },
  consume: (chunk: Buffer) => void,
): Promise<void> {
  const stall = new AbortController();
  const { stallMs } = access.timing ?? TIMING;
  const timer = setTimeout(() => stall.abort(new PassingError(`no byte for ${stallMs / 1000} s from ${withoutQuery(url)}`)), stallMs);
  const signal = options.signal === undefined ? stall.signal : AbortSignal.any([options.signal, stall.signal]);
  try {
    const response = await followRedirects(access, url, options.range, signal);
    if (options.range !== undefined) checkRange(response, options.range, url);
    await drain(response, (chunk) => {
      timer.refresh();
      consume(chunk);
    });
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason;
    if (stall.signal.aborted) throw stall.signal.reason;
    throw error instanceof NetworkError ? asPassing(error, url) : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Trouble with the connection, as Node words it. */
class NetworkError extends Error {}

/** The whole body, chunk by chunk; NetworkError when it ends early. */
function drain(response: IncomingMessage, consume: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(new NetworkError(error.message, { cause: error }));
    response.on("data", (chunk: Buffer) => {
      try {
        consume(chunk);
      } catch (error) {
        reject(error);
        response.destroy();
      }
    });
    response.on("error", failed);
    response.on("end", resolve);
    response.on("close", () => failed(new Error("the connection was closed")));
  });
}

async function followRedirects(
  access: WebAccess,
  first: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const home = new URL(access.endpoint).origin;
  let url = new URL(first);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "roslin" };
    if (range !== undefined) headers["range"] = `bytes=${range.start}-${range.end - 1}`;
    const known = access.token !== null && url.origin === home;
    if (known) headers["authorization"] = `Bearer ${access.token}`;
    const response = await send(access, url, headers, signal);
    const status = response.statusCode ?? 0;
    const { location } = response.headers;
    if (status < 300 || status >= 400 || location === undefined) {
      if (status >= 200 && status < 300) return response;
      response.destroy();
      throw refusal(response, status, first, known);
    }
    response.on("error", () => undefined).resume();
    url = new URL(location, url);
    if (url.protocol !== "https:" && url.protocol !== "http:")
      throw new UserError("the hub redirects to something that is not the web", { from: first, to: url.protocol });
  }
  throw new UserError("the hub redirects in circles", { url: first, redirects: MAX_REDIRECTS });
}

/** Sends one GET; resolves with the head of its answer. */
function send(access: WebAccess, url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
  const secure = url.protocol === "https:";
  const proxied = access.proxy === undefined ? null : throughProxy(url, access.proxy);
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(new NetworkError(error.message, { cause: error }));
    const options = { headers, signal, ...proxied?.options };
    const request =
      proxied?.plain === true
        ? requestHttp({ ...options, path: url.href, headers: { ...headers, host: url.host, ...proxied.headers } })
        : (secure ? requestHttps : requestHttp)(url, options);
    request.on("response", resolve).on("error", failed).end();
  });
}

/** Certificates that nobody trusts stay so; everything else about a connection may mend itself. */
function asPassing(error: NetworkError, url: string): Error {
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code ?? "";
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code))
    return new UserError("the server's certificate is not trusted: put the authority that signed it into NODE_EXTRA_CA_CERTS", {
      url: withoutQuery(url),
      code,
    });
  return new PassingError(`${withoutQuery(url)}: ${messageOf(error)}`, 0, { cause: error });
}

/** What an answer that is no success means; `known`: a token was sent along. */
function refusal(response: IncomingMessage, status: number, url: string, known: boolean): Error {
  const header = (name: string): string | undefined => response.headers[name]?.toString();
  const where = { url: withoutQuery(url), status, reason: header("x-error-message") };
  const gated = header("x-error-code") === "GatedRepo";
  switch (status) {
    case 401:
    case 403:
      if (gated)
        return new UserError(
          `the repository is gated: accept its conditions on its page, and set HF_TOKEN to a token of that account${known ? "; the one that is set may not read it" : ""}`,
          where,
        );
      return new UserError(
        known
          ? "the hub refuses this: the name is wrong, or the token of HF_TOKEN is not valid or may not read it. Check both"
          : "the hub refuses this: the name is wrong, or the repository is private. Check the name, or set HF_TOKEN to a token that may read it",
        where,
      );
    case 404:
      return new UserError("the hub has no such repository, revision or file: check the source's name and revision", where);
    case 416:
      return new UserError("the hub has fewer bytes of this file than it said", where);
    case 408:
    case 425:
    case 429:
      return new PassingError(`the hub answered ${status} to ${where.url}`, waitAsked(header("retry-after"), header("ratelimit")));
    default:
      if (status >= 500)
        return new PassingError(`the hub answered ${status} to ${where.url}`, waitAsked(header("retry-after"), header("ratelimit")));
      return new UserError("the hub gave an answer that makes no sense here", where);
  }
}

/** Milliseconds that Retry-After (seconds or a date) or RateLimit (`"resolvers";r=0;t=30`) asks us to wait. */
function waitAsked(after: string | undefined, limit: string | undefined): number {
  if (after !== undefined) return Math.max(0, /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now()) || 0;
  const spent = /;\s*r=0\s*;\s*t=(\d+)/.exec(limit ?? "");
  return spent === null ? 0 : Number(spent[1]) * 1000;
}

function checkRange(response: IncomingMessage, range: ByteRange, url: string): void {
  const got = response.headers["content-range"];
  const match = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(got ?? "");
  if (response.statusCode === 206 && match !== null && Number(match[1]) === range.start && Number(match[2]) === range.end - 1) return;
  response.destroy();
  throw new UserError("the hub, or a proxy before it, does not serve ranges of bytes as asked", {
    url: withoutQuery(url),
    expected: `206 bytes ${range.start}-${range.end - 1}`,
    got: `${response.statusCode} ${got}`,
  });
}

/** A URL fit for messages: signatures in a query are secrets. */
function withoutQuery(url: string): string {
  return url.split("?")[0]!;
}
