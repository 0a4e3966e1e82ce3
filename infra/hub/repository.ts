import { UserError } from "../../core/errors.js";
import type { HubReference } from "../../core/sources.js";
import type { RemoteFile } from "../remote/remote.js";
import { TIMING, withRetries, type Watch } from "../remote/retries.js";
import { get, type WebAccess } from "../remote/web.js";

/** A repository at one commit. */
export interface Repository extends HubReference {
  readonly commit: string;
  readonly files: readonly RemoteFile[];
}

/** Asks the hub for a revision's commit and files: one request. Throws UserError for wrong names, UnreachableError when it can't be had. */
export async function resolveRepository(access: WebAccess, reference: HubReference, watch: Watch): Promise<Repository> {
  const { kind, id, revision } = reference;
  if (!/^https?:\/\/[^/]/.test(access.endpoint))
    throw new UserError("the hub's address is no http or https URL: correct HF_ENDPOINT", { got: access.endpoint });
  const url = `${access.endpoint}/api/${kind}/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const body = await withRetries(
    access.timing ?? TIMING,
    watch,
    () => 0,
    async () => {
      const chunks: Buffer[] = [];
      await get(access, url, { signal: watch.signal }, (chunk) => void chunks.push(chunk));
      return Buffer.concat(chunks).toString("utf8");
    },
  );
  try {
    return { ...reference, ...parseRepository(JSON.parse(body) as unknown) };
  } catch (error) {
    throw new UserError("the hub's description of a repository cannot be used", { url }, { cause: error });
  }
}

/** Address of a file's bytes. */
export function fileUrl(access: WebAccess, repository: Repository, path: string): string {
  const prefix = repository.kind === "datasets" ? "/datasets" : "";
  return `${access.endpoint}${prefix}/${repository.id}/resolve/${repository.commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
}

interface Sibling {
  readonly rfilename?: unknown;
  readonly size?: unknown;
  readonly blobId?: unknown;
  readonly lfs?: { readonly sha256?: unknown; readonly size?: unknown } | null;
}

/** The commit and files in the hub's answer; throws where a name would leave its directory or a digest is missing. */
export function parseRepository(json: unknown): { readonly commit: string; readonly files: readonly RemoteFile[] } {
  const { sha, siblings } = json as { sha?: unknown; siblings?: readonly Sibling[] };
  const commit = hex(sha, 40, "the commit");
  if (!Array.isArray(siblings)) throw new Error("it lists no files");
  const files = (siblings as readonly Sibling[]).map((sibling): RemoteFile => {
    const path = safePath(sibling.rfilename);
    const bytes = sibling.lfs?.size ?? sibling.size;
    if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0) throw new Error(`${path} has no size`);
    const digest = sibling.lfs
      ? ({ kind: "sha256", hex: hex(sibling.lfs.sha256, 64, path) } as const)
      : ({ kind: "git", hex: hex(sibling.blobId, 40, path) } as const);
    return { path, bytes, digest };
  });
  return { commit, files };
}

function hex(value: unknown, length: number, what: string): string {
  if (typeof value === "string" && value.length === length && /^[0-9a-f]+$/.test(value)) return value;
  throw new Error(`${what} has no digest of ${length} hex digits, got ${JSON.stringify(value)}`);
}

/** A path from the hub that stays below the directory it is put in; anything else throws. */
function safePath(value: unknown): string {
  const parts = typeof value === "string" ? value.split("/") : [];
  const safe = parts.length > 0 && parts.every((part) => part !== "" && part !== "." && part !== ".." && !/[\\:\0]/.test(part));
  if (!safe) throw new Error(`the name of a file leaves its directory: ${JSON.stringify(value)}`);
  return value as string;
}
