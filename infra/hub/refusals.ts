import { UserError } from "../../core/errors.js";
import type { Exchanged } from "../http/exchange.js";
import { withoutSecrets } from "../http/web.js";
import type { HubAccess } from "../sources/hub/access.js";

/** What the hub's refusals of writing mean, and what can be done. */

/** The hub refuses a request for good. */
export class HubRefusal extends UserError {
  readonly status: number;
  constructor(status: number, message: string, details: Readonly<Record<string, string | number | undefined>>) {
    super(message, details);
    this.status = status;
  }
}

/** A store beside the hub refuses an address that the hub has signed: it has expired, and the hub signs another one. */
export class StaleAddressError extends Error {}

/** The error for an answer that is not a success and will not become one; `id` is the repository. */
export function refusalOf(access: HubAccess, id: string, method: string, url: URL, answer: Exchanged): Error {
  const { status } = answer;
  const reason = reasonOf(access, answer);
  const known = { repository: id, url: withoutSecrets(url.href), status, reason };
  // what is put anywhere has an address of its own that the hub signed
  if (method === "PUT" && (status === 401 || status === 403))
    return new StaleAddressError(`the hub's store answered ${status} to ${known.url}${reason === undefined ? "" : `: ${reason}`}`);
  return new HubRefusal(status, words(status, reason ?? ""), known);
}

function words(status: number, reason: string): string {
  if (status === 402 || (status === 403 && /storage|quota|billing|payment|limit/i.test(reason)))
    return "the account has no room left on the hub: remove what it no longer needs there, or get more storage";
  switch (status) {
    case 401:
      return "the hub does not accept the token: set HF_TOKEN to one that is valid and may write";
    case 403:
      return "the token of HF_TOKEN may not write there: take one with the right to write to this repository, or another publish.target";
    case 404:
      return "the hub has no such repository, branch or file, or the token of HF_TOKEN may not see it";
    case 409:
    case 412:
      return "another run, or a person, changed the repository at the same moment: publish again";
    case 413:
      return "a file is larger than the hub, or a proxy before it, takes";
    default:
      return "the hub refuses this";
  }
}

/** What the hub says of it, without the token, whatever it echoes. */
function reasonOf({ token }: HubAccess, { headers, body }: Exchanged): string | undefined {
  let said = headers["x-error-message"];
  try {
    const { error, message } = JSON.parse(body.toString()) as { error?: unknown; message?: unknown };
    said ??= typeof error === "string" ? error : typeof message === "string" ? message : undefined;
  } catch {
    // not JSON: a page that says no more than the status
  }
  return token === null ? said : said?.replaceAll(token, "…");
}
