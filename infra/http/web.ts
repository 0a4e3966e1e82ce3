import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { messageOf, UserError } from "../../core/errors.js";
import { duration } from "../../core/units.js";
import { throughProxy, type ProxySettings } from "./proxy.js";
import { isOfDisk, isPassing, PassingError, TIMING, type Timing } from "./retries.js";
import { ask, type Answer, type Consume, type Room } from "./wire.js";

/** A place on the web: how it is asked, and what its answers mean. */
export interface Site {
  /** what messages call it, such as "the server" */
  readonly name: string;
  readonly proxy?: ProxySettings;
  readonly timing?: Timing;
  /** Headers for one address, such as a token. They are asked for again at each redirect, which may lead to another server. */
  headersFor(url: URL): Readonly<Record<string, string>>;
  /** Whether a HEAD request follows a redirect to this address; if not, the redirecting answer itself is the result. */
  followsHead(to: URL): boolean;
  /** The error for an answer that is not a success, if the site words it itself; null: the common one. */
  refusal(refused: Refused): Error | null;
}

/** An answer that is not a success. */
export interface Refused extends Pick<Answer, "status" | "header"> {
  /** the address that answered; after redirects another than the one asked for */
  readonly last: URL;
  /** fields for the message of an error: the address asked for, and the server that answered if it is another */
  readonly where: { readonly url: string; readonly answered: string | undefined; readonly status: number };
  /** a sentence: which server answered what */
  readonly said: string;
}

const MAX_REDIRECTS = 10;

/** Half-open range of bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The server, or a proxy before it, answered a range with the whole file. */
export class NoRangesError extends Error {
  override readonly name = "NoRangesError";
}

/**
 * Sends one GET, or with `head` one HEAD, and hands the body to `consume` chunk by chunk; resolves with a reader of the
 * answer's headers. With `range`, an answer other than a 206 with exactly these bytes is an error; it is NoRangesError if the
 * whole file came. `room` says that the body is large, and where its bytes are best received. `consume` may return a
 * promise: the next chunk comes after it has resolved.
 */
export async function get(
  site: Site,
  url: string,
  options: Wanted & { readonly signal?: AbortSignal },
  consume: Consume,
): Promise<Answer["header"]> {
  const stall = new AbortController();
  const { stallMs } = site.timing ?? TIMING;
  // the server is not to blame while `consume` is at work
  let busy = false;
  const timer = setTimeout(() => {
    if (busy) timer.refresh();
    else stall.abort(new PassingError(`no byte for ${duration(stallMs / 1000)} from ${withoutSecrets(url)}`));
  }, stallMs);
  const signal = options.signal === undefined ? stall.signal : AbortSignal.any([options.signal, stall.signal]);
  try {
    const response = await followRedirects(site, url, options, signal);
    if (options.range !== undefined) checkRange(site, response, options.range, url);
    await response.drain((chunk) => {
      timer.refresh();
      const taken = consume(chunk);
      if (!(taken instanceof Promise)) return undefined;
      busy = true;
      return taken.finally(() => {
        busy = false;
        timer.refresh();
      });
    }, options.room);
    return response.header;
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason;
    if (stall.signal.aborted) throw stall.signal.reason;
    throw error instanceof UserError || error instanceof PassingError || error instanceof NoRangesError
      ? error
      : asPassing(error as NodeJS.ErrnoException, url);
  } finally {
    clearTimeout(timer);
  }
}

/** An answer of Node's own client. */
function answerOf(response: IncomingMessage): Answer {
  response.on("error", () => undefined);
  return {
    status: response.statusCode ?? 0,
    header: (name) => response.headers[name]?.toString(),
    drain: async (consume) => {
      for await (const chunk of response as AsyncIterable<Buffer>) await consume(chunk);
    },
    discard: () => void response.destroy(),
  };
}

interface Wanted {
  readonly range?: ByteRange;
  readonly room?: Room;
  /** HEAD instead of GET */
  readonly head?: true;
}

async function followRedirects(site: Site, first: string, wanted: Wanted, signal: AbortSignal): Promise<Answer> {
  let url = new URL(first);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "roslin", ...site.headersFor(url) };
    if (wanted.range !== undefined) headers["range"] = `bytes=${wanted.range.start}-${wanted.range.end - 1}`;
    const response = await send(site, url, headers, wanted, signal);
    const { status } = response;
    const location = response.header("location");
    if (status < 300 || status >= 400 || location === undefined) {
      if (status >= 200 && status < 300) return response;
      response.discard();
      throw refusal(response, site, first, url);
    }
    url = new URL(location, url);
    if (wanted.head === true && !site.followsHead(url)) return response;
    response.discard();
    if (url.protocol !== "https:" && url.protocol !== "http:")
      throw new UserError(`${site.name} redirects to an address that is neither http nor https`, { from: first, to: url.protocol });
  }
  throw new UserError(`${site.name} redirects in circles`, { url: first, redirects: MAX_REDIRECTS });
}

/** Sends one request; resolves with the head of its answer. */
async function send(site: Site, url: URL, headers: Record<string, string>, wanted: Wanted, signal: AbortSignal): Promise<Answer> {
  const secure = url.protocol === "https:";
  const proxied = site.proxy === undefined ? null : throughProxy(url, site.proxy, signal);
  if (wanted.room !== undefined && proxied === null) {
    const answer = await ask(url, headers, signal);
    if (answer !== null) return answer;
  }
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = { method: wanted.head === true ? "HEAD" : "GET", headers, signal, ...proxied?.options };
    const request =
      proxied?.plain === true
        ? requestHttp({ ...options, path: url.href, headers: { ...headers, host: url.host, ...proxied.headers } })
        : (secure ? requestHttps : requestHttp)(url, options);
    request.on("response", resolve).on("error", reject).end();
  });
  return answerOf(response);
}

/** The error for a connection to `url` that failed: a certificate that is not trusted stays so; another try can succeed after everything else. */
export function asPassing(error: NodeJS.ErrnoException, url: string): Error {
  const code = error.code ?? "";
  if (isOfDisk(error)) return error;
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code))
    return new UserError("the server's certificate is not trusted: put the authority that signed it into NODE_EXTRA_CA_CERTS", {
      url: withoutSecrets(url),
      code,
    });
  return new PassingError(`${withoutSecrets(url)}: ${messageOf(error)}`, 0, { cause: error });
}

/** The error for an answer that is not a success. `first`: the address asked for; `last`: the one that answered. */
function refusal({ status, header }: Answer, site: Site, first: string, last: URL): Error {
  const answered = last.origin === new URL(first).origin ? undefined : last.origin;
  const where = { url: withoutSecrets(first), answered, status };
  const said = `${answered ?? site.name} answered ${status} to ${where.url}`;
  if (isPassing(status)) return new PassingError(said, waitAsked(header("retry-after"), header("ratelimit")));
  const worded = site.refusal({ status, header, last, where, said });
  if (worded !== null) return worded;
  if (status === 416) return new UserError(`${site.name} has fewer bytes of this file than it said`, where);
  return new UserError(`${site.name} gave an unexpected answer`, where);
}

/** Milliseconds that Retry-After (seconds or a date) or RateLimit (`"resolvers";r=0;t=30`) asks us to wait. */
export function waitAsked(after: string | undefined, limit: string | undefined): number {
  if (after !== undefined) return Math.max(0, /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now()) || 0;
  const spent = /;\s*r=0\s*;\s*t=(\d+)/.exec(limit ?? "");
  return spent === null ? 0 : Number(spent[1]) * 1000;
}

function checkRange(site: Site, response: Answer, range: ByteRange, url: string): void {
  const got = response.header("content-range");
  const match = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(got ?? "");
  if (response.status === 206 && match !== null && Number(match[1]) === range.start && Number(match[2]) === range.end - 1) return;
  response.discard();
  if (response.status === 200) throw new NoRangesError(`no ranges of bytes from ${withoutSecrets(url)}`);
  throw new UserError(`${site.name}, or a proxy before it, does not serve ranges of bytes as asked`, {
    url: withoutSecrets(url),
    expected: `206 bytes ${range.start}-${range.end - 1}`,
    got: `${response.status} ${got}`,
  });
}

/** A URL fit for messages: without its query, which may hold a signature, and without a name and password. */
export function withoutSecrets(url: string): string {
  return url.split("?")[0]!.replace(/^(\w+:)?\/\/[^/]*@/, "$1//");
}
