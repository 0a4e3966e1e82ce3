import { hubTargetId } from "../../core/config/hub-target.js";
import { ForbiddenError, UserError } from "../../core/errors.js";
import type { Watch } from "../http/retries.js";
import type { HubAccess } from "../sources/hub/access.js";
import { refuseBucketSettings, type BucketSettings } from "../store/check.js";
import { MANIFEST } from "../../core/format/manifest.js";
import { hubFetch } from "./hub-fetch.js";
import { hubRepository } from "./hub-repository.js";

/** What the hub says of a token. */
interface WhoAmI {
  readonly name?: string;
  readonly orgs?: readonly { readonly name?: string; readonly roleInOrg?: string }[];
  readonly auth?: {
    readonly accessToken?: {
      readonly role?: string;
      readonly fineGrained?: { readonly scoped?: readonly Scope[] };
    };
  };
}

/** Rights that a token has for one user, organization or repository. */
interface Scope {
  readonly entity?: { readonly name?: string };
  readonly permissions?: readonly string[];
}

const RIGHT = "repo.write";

/**
 * Makes sure that the token may write to the repository that `target` names, or make it. Resolves to a sentence for people where
 * the repository is not there yet. Throws UserError.
 */
export async function checkHub(access: HubAccess, target: string, wanted: BucketSettings, watch: Watch): Promise<string | undefined> {
  const id = hubTargetId(target)!;
  const owner = id.split("/")[0]!;
  refuseBucketSettings("the hub", target, wanted);
  if (access.token === null && access.login === undefined)
    throw new UserError("publishing to the hub needs a token: set HF_TOKEN to one that may write", { target });
  const send = hubFetch(access, id, watch);
  const who = (await (await send(`${access.endpoint}/api/whoami-v2`)).json()) as WhoAmI;
  const problem = problemOf(who, owner, id);
  if (problem !== null) throw new ForbiddenError(RIGHT, problem, { target });
  const repository = hubRepository(access, id, watch);
  if ((await repository.refs()) === null) return `${target} is not there yet: it will be made, private`;
  const others = (await repository.at("main"))?.files.map(({ path }) => path) ?? [];
  const other = others.includes(MANIFEST) ? undefined : others.find((path) => !ANYBODYS.test(path));
  if (other !== undefined)
    throw new UserError(
      "main of the repository holds files that Roslin did not publish: name a repository that is empty, or not there yet",
      {
        target,
        file: other,
      },
    );
  // the first thing that writing asks for, and it changes nothing
  const files = [{ path: "README.md", size: 1, sample: "Iw==" }];
  const headers = { "content-type": "application/json" };
  await send(`${access.endpoint}/api/models/${id}/preupload/main`, { method: "POST", headers, body: JSON.stringify({ files }) });
  return undefined;
}

/** Files that a repository may have before a model is in it. */
const ANYBODYS = /^(\.gitattributes|\.gitignore|README\.md|LICENSE[^/]*)$/i;

/** Why the token may not write to a repository; null: as far as it says, it may. */
function problemOf({ name, orgs = [], auth }: WhoAmI, owner: string, id: string): string | null {
  const token = auth?.accessToken;
  const write = "set HF_TOKEN to a token that may write";
  if (token?.role === "read") return `the token of HF_TOKEN may only read: ${write}`;
  const scoped = token?.role === "fineGrained" ? token.fineGrained?.scoped : undefined;
  const covers = ({ entity, permissions = [] }: Scope): boolean =>
    [owner, id].some((each) => same(entity?.name, each)) && permissions.some((each) => each.startsWith("repo") && each.endsWith("write"));
  if (scoped !== undefined && !scoped.some(covers))
    return `the token of HF_TOKEN has no right to write to ${id}: give it ${RIGHT} for ${owner}, or ${write}`;
  // a mirror may say nothing of an account
  if (name === undefined || same(name, owner)) return null;
  const org = orgs.find((each) => same(each.name, owner));
  if (org === undefined)
    return `the token of HF_TOKEN belongs to ${name}, who is not a member of ${owner}: publish to hf://${name}/…, or set HF_TOKEN to a token of a member`;
  return org.roleInOrg === "read"
    ? `${name} may only read in ${owner}: ask for the right to write there, or publish to hf://${name}/…`
    : null;
}

/** The hub's names differ by more than capitals. */
function same(a: string | undefined, b: string): boolean {
  return a?.toLowerCase() === b.toLowerCase();
}
