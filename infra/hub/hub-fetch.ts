import { messageOf, UnreachableError, UserError } from "../../core/errors.js";
import { exchange, type Exchanged } from "../http/exchange.js";
import { isPassing, PassingError, TIMING, withRetries, type Watch } from "../http/retries.js";
import { asPassing, waitAsked, withoutSecrets } from "../http/web.js";
import { authorization, isHub, type HubAccess } from "../sources/hub/access.js";
import { refusalOf } from "./refusals.js";

/** How requests that write to the hub are made, for its client and beside it. */

/** A request's progress, as the hub's client hands it to a fetch of one's own. */
interface Hinted extends RequestInit {
  readonly progressHint?: {
    readonly progressCallback?: (share: number) => void;
    /** of a file that is sent in parts; they share the callback */
    readonly part?: number;
    readonly numParts?: number;
  };
}

/** Requests in one direction after another at most. */
const MAX_REDIRECTS = 5;
/** A store takes longer to put a large object together than a server to send the next byte. */
const ANSWER_PATIENCE = 4;

/**
 * A `fetch` for the hub: it sends the token to the hub alone, goes through the proxy, sends files piece by piece, makes a request
 * again where that may help, and hears the hub's wish to wait. Only successes come back. Throws UserError (HubRefusal), StaleAddressError, UnreachableError.
 */
export function hubFetch(access: HubAccess, id: string, watch: Watch): typeof fetch {
  const { timing = TIMING } = access;
  return async (input, init: Hinted = {}) => {
    if (access.offline === true)
      throw new UnreachableError("nothing can be published to the hub: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set");
    const url = new URL(input instanceof Request ? input.url : input);
    const signal = init.signal == null ? watch.signal : AbortSignal.any([watch.signal, init.signal]);
    const answer = await withRetries(
      timing,
      { ...watch, signal },
      () => 0,
      () => followed(access, id, url, init, signal),
    );
    const { status, body } = answer;
    refuseXet(id, url, body);
    return new Response(status === 204 ? null : new Uint8Array(body), { status, headers: answer.headers });
  };
}

async function followed(access: HubAccess, id: string, first: URL, init: Hinted, signal: AbortSignal): Promise<Exchanged> {
  let url = first;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const answer = await tried(access, url, init, signal);
    const { status, headers } = answer;
    const to = headers["location"];
    if (status >= 200 && status < 300) return answer;
    if (status < 300 || status >= 400 || to === undefined) {
      const said = `${isHub(url, access.endpoint) ? "the hub" : url.origin} answered ${status} to ${withoutSecrets(url.href)}`;
      if (isPassing(status) || isBusy(answer)) throw new PassingError(said, waitAsked(headers["retry-after"], headers["ratelimit"]));
      throw refusalOf(access, id, init.method ?? "GET", url, answer);
    }
    url = new URL(to, url);
    // another repository's name, or the same hub's; a body goes nowhere else
    if (!isHub(url, access.endpoint))
      throw new UserError("the hub redirects what is published to another place: set HF_ENDPOINT to the hub itself", {
        from: withoutSecrets(first.href),
        to: url.origin,
      });
  }
  throw new UserError("the hub redirects in circles", { url: withoutSecrets(first.href), redirects: MAX_REDIRECTS });
}

/** Whether the hub refuses because it does something else for the same account at this moment. */
function isBusy({ status, body }: Exchanged): boolean {
  return status === 409 && body.includes("another conflicting operation is in progress");
}

async function tried(access: HubAccess, url: URL, init: Hinted, signal: AbortSignal): Promise<Exchanged> {
  const { proxy, timing = TIMING } = access;
  const body = init.body ?? null;
  if (body !== null && typeof body !== "string" && !(body instanceof Blob)) throw new Error("a body is a text or a file");
  const given = Object.fromEntries(new Headers(init.headers));
  // the client's own authorization has no token, because tokens of other hubs have forms that it refuses
  delete given["authorization"];
  const size = body instanceof Blob ? body.size : 0;
  try {
    return await exchange(url, {
      method: init.method ?? "GET",
      headers: { "user-agent": "roslin", ...given, ...authorization(access, url) },
      body,
      ...(proxy === undefined ? {} : { proxy }),
      idleMs: timing.stallMs * ANSWER_PATIENCE,
      signal,
      ...(size === 0 ? {} : { onSent: (bytes: number) => tell(init.progressHint, bytes / size) }),
    });
  } catch (error) {
    signal.throwIfAborted();
    const { syscall, path } = error as NodeJS.ErrnoException;
    // a file that is gone or cannot be read does not come back by itself
    if (error instanceof UserError || (path !== undefined && ["open", "read"].includes(syscall ?? ""))) throw error;
    throw asPassing(error as NodeJS.ErrnoException, url.href);
  }
}

const shares = new WeakMap<object, Map<number, number>>();

/** Tells the client how much of a file has gone out: of its parts it is told each one's share. */
function tell({ progressCallback, part = 0, numParts = 1 }: NonNullable<Hinted["progressHint"]> = {}, share: number): void {
  if (progressCallback === undefined) return;
  const known = shares.get(progressCallback) ?? new Map<number, number>();
  shares.set(progressCallback, known.set(part, share));
  // 1 is said by the client, when all has been put together
  progressCallback(Math.min(0.999, [...known.values()].reduce((sum, each) => sum + each, 0) / numParts));
}

/** Throws UserError if an LFS batch is answered with Xet alone, which it was not asked for: docs/decisions/0065. */
function refuseXet(id: string, { pathname }: URL, body: Buffer): void {
  if (!pathname.endsWith("/info/lfs/objects/batch")) return;
  let transfer: unknown;
  try {
    ({ transfer } = JSON.parse(body.toString()) as { transfer?: unknown });
  } catch (error) {
    throw new UserError(`the hub's answer about large files cannot be used: ${messageOf(error)}`, { repository: id });
  }
  if (transfer === "xet")
    throw new UserError("this hub takes large files by Xet alone, and Roslin sends them by LFS: publish to another hub, or to a bucket", {
      repository: id,
    });
}
