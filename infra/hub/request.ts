import { setTimeout as sleep } from "node:timers/promises";
import { UserError, messageOf } from "../../core/errors.js";

/** Where the hub is and who asks. */
export interface HubAccess {
  /** e.g. https://huggingface.co, without a trailing slash */
  readonly endpoint: string;
  readonly token: string | null;
  readonly timing?: HubTiming;
}

/** Patience, in milliseconds. */
export interface HubTiming {
  /** a request that brings no byte for so long is given up and made again */
  readonly stallMs: number;
  /** wait before the first retry; it doubles with each further one */
  readonly retryMs: number;
}

const DEFAULT_TIMING: HubTiming = { stallMs: 30_000, retryMs: 500 };
/** Failures in a row, without a byte of progress, that end a download. */
const MAX_FAILURES = 7;
const MAX_WAIT_MS = 300_000;
const MAX_REDIRECTS = 10;

/** A failure that another try can mend, and how long the server wants us to wait. */
class PassingError extends Error {
  readonly waitMs: number;
  constructor(message: string, waitMs = 0, options?: ErrorOptions) {
    super(message, options);
    this.waitMs = waitMs;
  }
}

/** Who hears how a request goes. */
export interface Watch {
  readonly signal: AbortSignal;
  /** hears why something is tried again */
  onNote?(note: string): void;
}

/** Tries `work` until it succeeds, fails for good (UserError) or makes no progress MAX_FAILURES times in a row. */
export async function withRetries<T>(
  access: HubAccess,
  { signal, onNote }: Watch,
  progress: () => number,
  work: () => Promise<T>,
): Promise<T> {
  const { retryMs } = access.timing ?? DEFAULT_TIMING;
  for (let failures = 0; ;) {
    const before = progress();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PassingError)) throw error;
      failures = progress() > before ? 1 : failures + 1;
      if (failures >= MAX_FAILURES)
        throw new HubUnreachableError(`the hub does not answer as it should: ${messageOf(error)}`, { cause: error });
      const wait = Math.min(MAX_WAIT_MS, Math.max(error.waitMs, retryMs * 2 ** (failures - 1)));
      onNote?.(`${messageOf(error)}; trying again in ${Math.ceil(wait / 1000)} s`);
      await sleep(wait, undefined, { signal });
    }
  }
}

/** The hub could not be reached, or kept failing: time may mend it. */
export class HubUnreachableError extends Error {
  override readonly name = "HubUnreachableError";
}

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
  access: HubAccess,
  url: string,
  options: { readonly range?: ByteRange; readonly signal: AbortSignal },
  consume: (chunk: Uint8Array) => Promise<void> | void,
): Promise<void> {
  const stall = new AbortController();
  const { stallMs } = access.timing ?? DEFAULT_TIMING;
  const timer = setTimeout(() => stall.abort(new PassingError(`no byte for ${stallMs / 1000} s from ${withoutQuery(url)}`)), stallMs);
  const signal = AbortSignal.any([options.signal, stall.signal]);
  try {
    const response = await followRedirects(access, url, options.range, signal);
    if (options.range !== undefined) checkRange(response, options.range, url);
    for await (const chunk of response.body ?? []) {
      timer.refresh();
      await consume(chunk as Uint8Array);
    }
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason;
    if (stall.signal.aborted) throw stall.signal.reason;
    // fetch reports every trouble with the connection as a TypeError
    if (error instanceof TypeError) throw new PassingError(`${withoutQuery(url)}: ${messageOf(error)}`, 0, { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function followRedirects(access: HubAccess, first: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Response> {
  const home = new URL(access.endpoint).origin;
  let url = new URL(first);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "roslin" };
    if (range !== undefined) headers["range"] = `bytes=${range.start}-${range.end - 1}`;
    if (access.token !== null && url.origin === home) headers["authorization"] = `Bearer ${access.token}`;
    const response = await fetch(url, { headers, redirect: "manual", signal });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) {
      if (!response.ok) await refuse(response, first);
      return response;
    }
    await response.body?.cancel();
    url = new URL(location, url);
    if (url.protocol !== "https:" && url.protocol !== "http:")
      throw new UserError("the hub redirects to something that is not the web", { from: first, to: url.protocol });
  }
  throw new UserError("the hub redirects in circles", { url: first, redirects: MAX_REDIRECTS });
}

/** Throws what an answer that is no success means. */
async function refuse(response: Response, url: string): Promise<never> {
  await response.body?.cancel();
  const where = { url: withoutQuery(url), status: response.status };
  const reason = response.headers.get("x-error-message") ?? undefined;
  switch (response.status) {
    case 401:
    case 403:
      throw new UserError(
        "the hub refuses this: the name is wrong, or the repository is private or gated. Check the name, or set HF_TOKEN to a token that may read it",
        { ...where, reason },
      );
    case 404:
      throw new UserError("the hub has no such repository, revision or file: check the source's name and revision", { ...where, reason });
    case 416:
      throw new UserError("the hub has fewer bytes of this file than it said", { ...where, reason });
    case 408:
    case 425:
    case 429:
      throw new PassingError(`the hub answered ${response.status} to ${where.url}`, waitAsked(response));
    default:
      if (response.status >= 500) throw new PassingError(`the hub answered ${response.status} to ${where.url}`, waitAsked(response));
      throw new UserError("the hub gave an answer that makes no sense here", { ...where, reason });
  }
}

/** Milliseconds that Retry-After (seconds or a date) or RateLimit (`"resolvers";r=0;t=30`) asks us to wait. */
function waitAsked(response: Response): number {
  const after = response.headers.get("retry-after");
  if (after !== null) return Math.max(0, /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now()) || 0;
  const limit = /;\s*r=0\s*;\s*t=(\d+)/.exec(response.headers.get("ratelimit") ?? "");
  return limit === null ? 0 : Number(limit[1]) * 1000;
}

function checkRange(response: Response, range: ByteRange, url: string): void {
  const got = response.headers.get("content-range");
  const match = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(got ?? "");
  if (response.status !== 206 || match === null || Number(match[1]) !== range.start || Number(match[2]) !== range.end - 1)
    throw new UserError("the hub, or a proxy before it, does not serve ranges of bytes as asked", {
      url: withoutQuery(url),
      expected: `206 bytes ${range.start}-${range.end - 1}`,
      got: `${response.status} ${got}`,
    });
}

/** A URL fit for messages: signatures in a query are secrets. */
function withoutQuery(url: string): string {
  return url.split("?")[0]!;
}

/** An answer cut short, which a further try from there mends. */
export function cutShort(url: string, expected: number, got: number): Error {
  return new PassingError(`the answer ended early: ${got} of ${expected} bytes of ${withoutQuery(url)}`);
}
