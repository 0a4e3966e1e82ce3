import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { messageOf, UnreachableError, UserError } from "../../core/errors.js";
import { duration } from "../../core/units.js";
import { throughProxy, type ProxySettings } from "./proxy.js";
import { isOfDisk, PassingError, TIMING, type Timing } from "./retries.js";
import { ask, type Answer, type Consume, type Room } from "./wire.js";

/** Where files are on the web, and who asks. */
export interface WebAccess {
  /** e.g. https://huggingface.co, without a trailing slash */
  readonly endpoint: string;
  readonly token: string | null;
  /** authorization for the endpoint itself, instead of the token: a mirror's password */
  readonly login?: string;
  readonly proxy?: ProxySettings;
  readonly timing?: Timing;
  /** true: nothing may be asked for */
  readonly offline?: boolean;
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
 * One GET, or with `head` one HEAD, body and all, handed to `consume` chunk by chunk; gives what reads the answer's headers. Redirects are
 * followed by hand: the token goes to the hub only. With `range`, anything but a 206 for exactly these bytes is an error:
 * NoRangesError for all of them. `room`: the bytes are many, and best received where it says. `consume` may give a
 * promise: nothing more comes before it has resolved.
 */
export async function get(
  access: WebAccess,
  url: string,
  options: Wanted & { readonly signal?: AbortSignal },
  consume: Consume,
): Promise<Answer["header"]> {
  if (access.offline === true)
    throw new UnreachableError(`${withoutSecrets(url)} is not asked for: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set`);
  const stall = new AbortController();
  const { stallMs } = access.timing ?? TIMING;
  // it is not the server's fault while we are the ones who don't read
  let busy = false;
  const timer = setTimeout(() => {
    if (busy) timer.refresh();
    else stall.abort(new PassingError(`no byte for ${duration(stallMs / 1000)} from ${withoutSecrets(url)}`));
  }, stallMs);
  const signal = options.signal === undefined ? stall.signal : AbortSignal.any([options.signal, stall.signal]);
  try {
    const response = await followRedirects(access, url, options, signal);
    if (options.range !== undefined) checkRange(response, options.range, url);
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
  /** HEAD instead of GET; who leads away from the hub is not followed, for that address may be signed for GET alone */
  readonly head?: true;
}

async function followRedirects(access: WebAccess, first: string, wanted: Wanted, signal: AbortSignal): Promise<Answer> {
  let url = new URL(first);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "roslin", ...authorization(access, url) };
    if (wanted.range !== undefined) headers["range"] = `bytes=${wanted.range.start}-${wanted.range.end - 1}`;
    const response = await send(access, url, headers, wanted, signal);
    const { status } = response;
    const location = response.header("location");
    if (status < 300 || status >= 400 || location === undefined) {
      if (status >= 200 && status < 300) return response;
      response.discard();
      throw refusal(response, access, first, url);
    }
    url = new URL(location, url);
    if (wanted.head === true && !isHub(url, access.endpoint)) return response;
    response.discard();
    if (url.protocol !== "https:" && url.protocol !== "http:")
      throw new UserError("the hub redirects to something that is not the web", { from: first, to: url.protocol });
  }
  throw new UserError("the hub redirects in circles", { url: first, redirects: MAX_REDIRECTS });
}

function authorization({ endpoint, token, login }: WebAccess, url: URL): { readonly authorization?: string } {
  if (login !== undefined) return url.origin === new URL(endpoint).origin ? { authorization: login } : {};
  return token !== null && isHub(url, endpoint) ? { authorization: `Bearer ${token}` } : {};
}

const HUB = "https://huggingface.co";
/** Other names of it, which redirect there. */
const NAMES = new Set(["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"]);

/** Whether `url` is the endpoint's, or the hub's own where the endpoint is another name of it: elsewhere nobody gets the token. */
export function isHub(url: URL, endpoint: string): boolean {
  const { origin, hostname } = new URL(endpoint);
  return url.origin === origin || (url.origin === HUB && NAMES.has(hostname));
}

/** Sends one request; resolves with the head of its answer. */
async function send(access: WebAccess, url: URL, headers: Record<string, string>, wanted: Wanted, signal: AbortSignal): Promise<Answer> {
  const secure = url.protocol === "https:";
  const proxied = access.proxy === undefined ? null : throughProxy(url, access.proxy, signal);
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

/** Certificates that nobody trusts stay so; everything else about a connection may mend itself. */
function asPassing(error: NodeJS.ErrnoException, url: string): Error {
  const code = error.code ?? "";
  if (isOfDisk(error)) return error;
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code))
    return new UserError("the server's certificate is not trusted: put the authority that signed it into NODE_EXTRA_CA_CERTS", {
      url: withoutSecrets(url),
      code,
    });
  return new PassingError(`${withoutSecrets(url)}: ${messageOf(error)}`, 0, { cause: error });
}

/** What an answer that is no success means. `first`: what was asked for; `last`: who answered, redirects later. */
function refusal({ status, header }: Answer, access: WebAccess, first: string, last: URL): Error {
  const answered = last.origin === new URL(first).origin ? undefined : last.origin;
  const where = { url: withoutSecrets(first), answered, status, reason: header("x-error-message") };
  const said = `${answered ?? "the hub"} answered ${status} to ${where.url}`;
  const code = header("x-error-code");
  switch (status) {
    case 401:
    case 403:
      if (isHub(last, access.endpoint)) return new UserError(denial(access, code === "GatedRepo"), where);
      // a signed address gets too old, and another try gets a new one; what a hub itself says is final
      if (code === undefined) return new PassingError(access.token === null ? said : `${said}; the token of HF_TOKEN is not sent there`);
      return new UserError(
        "the hub redirects to another one, which refuses this without a token, and a token goes to HF_ENDPOINT alone: check the name, or set HF_ENDPOINT to the one that answered",
        where,
      );
    case 404:
      return new UserError("the hub has no such repository, revision or file: check the source's name and revision", where);
    case 416:
      return new UserError("the hub has fewer bytes of this file than it said", where);
    case 408:
    case 425:
    case 429:
      return new PassingError(said, waitAsked(header("retry-after"), header("ratelimit")));
    default:
      if (status >= 500) return new PassingError(said, waitAsked(header("retry-after"), header("ratelimit")));
      return new UserError("the hub gave an answer that makes no sense here", where);
  }
}

function denial({ token, login }: WebAccess, gated: boolean): string {
  if (gated)
    return `the repository is gated: accept its conditions on its page, and set HF_TOKEN to a token of that account${token === null ? "" : "; the one that is set may not read it"}`;
  if (token === null && login === undefined)
    return "the hub refuses this: the name is wrong, or the repository is private. Check the name, or set HF_TOKEN to a token that may read it";
  const given = login === undefined ? "the token of HF_TOKEN" : "the password in HF_ENDPOINT";
  return `the hub refuses this: the name is wrong, or ${given} is not valid or may not read it. Check both`;
}

/** Milliseconds that Retry-After (seconds or a date) or RateLimit (`"resolvers";r=0;t=30`) asks us to wait. */
function waitAsked(after: string | undefined, limit: string | undefined): number {
  if (after !== undefined) return Math.max(0, /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now()) || 0;
  const spent = /;\s*r=0\s*;\s*t=(\d+)/.exec(limit ?? "");
  return spent === null ? 0 : Number(spent[1]) * 1000;
}

function checkRange(response: Answer, range: ByteRange, url: string): void {
  const got = response.header("content-range");
  const match = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(got ?? "");
  if (response.status === 206 && match !== null && Number(match[1]) === range.start && Number(match[2]) === range.end - 1) return;
  response.discard();
  if (response.status === 200) throw new NoRangesError(`no ranges of bytes from ${withoutSecrets(url)}`);
  throw new UserError("the hub, or a proxy before it, does not serve ranges of bytes as asked", {
    url: withoutSecrets(url),
    expected: `206 bytes ${range.start}-${range.end - 1}`,
    got: `${response.status} ${got}`,
  });
}

/** A URL fit for messages: signatures in a query are secrets, and so is a name with its password. */
export function withoutSecrets(url: string): string {
  return url.split("?")[0]!.replace(/^(\w+:)?\/\/[^/]*@/, "$1//");
}
