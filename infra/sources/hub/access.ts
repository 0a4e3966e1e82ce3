import { UnreachableError, UserError } from "../../../core/errors.js";
import type { ProxySettings } from "../../http/proxy.js";
import { PassingError, type Timing } from "../../http/retries.js";
import { get, withoutSecrets, type Refused, type Site } from "../../http/web.js";
import type { ReadBytes, Source } from "../../transfer/source.js";

/** Who may ask the hub for what: the token goes to the hub alone, whatever it redirects to. */

/** Where the hub is, and what is sent to it. */
export interface HubAccess {
  /** e.g. https://huggingface.co, without a trailing slash */
  readonly endpoint: string;
  readonly token: string | null;
  /** authorization for the endpoint itself, instead of the token: a mirror's password */
  readonly login?: string;
  readonly proxy?: ProxySettings;
  readonly timing?: Timing;
  /** true: no request is made */
  readonly offline?: boolean;
}

/** The same as `get` of infra/http, with the hub's token and its errors. Throws UnreachableError when it is used offline. */
export async function getFromHub(access: HubAccess, url: string, ...rest: HubRequest): ReturnType<typeof get> {
  if (access.offline === true)
    throw new UnreachableError(`${withoutSecrets(url)} is not asked for: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set`);
  return await get(siteOf(access), url, ...rest);
}

type HubRequest = Parameters<typeof get> extends [Site, string, ...infer Rest] ? Rest : never;

/** A file of the hub, as a transfer thread reads it. */
export interface HubFile {
  readonly access: HubAccess;
  readonly url: string;
}

/** The source of a hub's file. */
export function hubSource(file: HubFile): Source {
  return { module: import.meta.url, place: file, address: file.url, timing: file.access.timing };
}

/** Reads a file of the hub; transfer threads find it by its name. @public */
export const read: ReadBytes<HubFile> = async ({ access, url }, range, { room, take }) => {
  await getFromHub(access, url, range === null ? { room } : { range, room }, take);
};

function siteOf(access: HubAccess): Site {
  const { proxy, timing } = access;
  return {
    name: "the hub",
    ...(proxy === undefined ? {} : { proxy }),
    ...(timing === undefined ? {} : { timing }),
    headersFor: (url) => authorization(access, url),
    // an address outside the hub may be signed for GET alone
    followsHead: (to) => isHub(to, access.endpoint),
    refusal: (refused) => refusal(access, refused),
  };
}

/** The header that shows who asks; none for another place than the hub. */
export function authorization({ endpoint, token, login }: HubAccess, url: URL): Readonly<Record<string, string>> {
  if (login !== undefined) return url.origin === new URL(endpoint).origin ? { authorization: login } : {};
  return token !== null && isHub(url, endpoint) ? { authorization: `Bearer ${token}` } : {};
}

const HUB = "https://huggingface.co";
/** Its other names, which redirect there. */
const NAMES = new Set(["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"]);

/** Whether `url` is at the endpoint, or at Hugging Face's own hub if the endpoint is another name of it. No other place gets the token. */
export function isHub(url: URL, endpoint: string): boolean {
  const { origin, hostname } = new URL(endpoint);
  return url.origin === origin || (url.origin === HUB && NAMES.has(hostname));
}

function refusal(access: HubAccess, { status, header, last, where, said }: Refused): Error | null {
  const known = { ...where, reason: header("x-error-message") };
  const code = header("x-error-code");
  if (status === 404) return new UserError("the hub has no such repository, revision or file: check the source's name and revision", known);
  if (status !== 401 && status !== 403) return known.reason === undefined ? null : new UserError("the hub refuses this", known);
  if (isHub(last, access.endpoint)) return new UserError(denial(access, code === "GatedRepo"), known);
  // without a code the answer comes from a store: its signed address has expired, and another try gets a new one
  if (code === undefined) return new PassingError(access.token === null ? said : `${said}; the token of HF_TOKEN is not sent there`);
  return new UserError(
    "the hub redirects to another hub, which refuses this without a token, and a token goes to HF_ENDPOINT alone: check the name, or set HF_ENDPOINT to the one that answered",
    known,
  );
}

function denial({ token, login }: HubAccess, gated: boolean): string {
  if (gated)
    return `the repository is gated: accept its conditions on its page, and set HF_TOKEN to a token of that account${token === null ? "" : "; the one that is set may not read it"}`;
  if (token === null && login === undefined)
    return "the hub refuses this: the name is wrong, or the repository is private. Check the name, or set HF_TOKEN to a token that may read it";
  const given = login === undefined ? "the token of HF_TOKEN" : "the password in HF_ENDPOINT";
  return `the hub refuses this: the name is wrong, or ${given} is not valid or may not read it. Check both`;
}
