import { UserError } from "../../../core/errors.js";
import type { HubReference } from "../../../core/config/source-ref.js";
import type { RemoteFile } from "../remote.js";
import { TIMING, withRetries, type Watch } from "../../http/retries.js";
import { getFromHub, type HubAccess } from "./access.js";

/** A repository at one commit. */
export interface Repository extends HubReference {
  readonly commit: string;
  readonly files: readonly RemoteFile[];
}

/** Asks the hub for a revision's commit and files: one request. Throws UserError for wrong names, UnreachableError when it can't be had. */
export async function resolveRepository(access: HubAccess, reference: HubReference, watch: Watch): Promise<Repository> {
  const { kind, id, revision } = reference;
  const url = `${access.endpoint}/api/${kind}/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const body = await withRetries(
    access.timing ?? TIMING,
    watch,
    () => 0,
    async () => {
      const chunks: Buffer[] = [];
      await getFromHub(access, url, { signal: watch.signal }, (chunk) => void chunks.push(chunk));
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
export function fileUrl(access: HubAccess, repository: Repository, path: string): string {
  const prefix = repository.kind === "datasets" ? "/datasets" : "";
  return `${access.endpoint}${prefix}/${repository.id}/resolve/${repository.commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * A file with its size and digest, from the repository's description or, because some mirrors leave them out there, from
 * the headers that Python's client reads. Throws UserError if neither states them.
 */
export async function statedFile(access: HubAccess, repository: Repository, file: RemoteFile, signal: AbortSignal): Promise<RemoteFile> {
  const { path } = file;
  try {
    return { path, bytes: file.bytes, digest: file.digest };
  } catch (error) {
    if (!isSafe(path)) throw error;
    const url = fileUrl(access, repository, path);
    const header = await withRetries(
      access.timing ?? TIMING,
      { signal },
      () => 0,
      () => getFromHub(access, url, { head: true, signal }, () => undefined),
    );
    const hex = (header("x-linked-etag") ?? header("etag") ?? "").replace(/^W\/|"/g, "");
    // the length of an answer that leads elsewhere is its own
    const size = header("x-linked-size") ?? (header("location") === undefined ? header("content-length") : undefined);
    if (!/^\d{1,15}$/.test(size ?? "") || !(isHex(hex, 64) || isHex(hex, 40))) throw error;
    return { path, bytes: Number(size), digest: { kind: hex.length === 64 ? "sha256" : "git", hex } };
  }
}

interface Sibling {
  readonly rfilename?: unknown;
  readonly size?: unknown;
  readonly blobId?: unknown;
  readonly lfs?: { readonly sha256?: unknown; readonly size?: unknown } | null;
}

/**
 * The commit and files in the hub's answer; throws if it has none. A file's size and digest are checked when they are read,
 * so a bad file that is not needed does no harm.
 */
export function parseRepository(json: unknown): { readonly commit: string; readonly files: readonly RemoteFile[] } {
  const { sha, siblings } = json as { sha?: unknown; siblings?: readonly Sibling[] };
  if (!isHex(sha, 40)) throw new Error(`the commit has no digest of 40 hex digits, got ${JSON.stringify(sha)}`);
  if (!Array.isArray(siblings)) throw new Error("it lists no files");
  return { commit: sha, files: (siblings as readonly Sibling[]).map(fileOf) };
}

/** A file whose size and digest throw UserError if its name leaves its directory, or if the hub doesn't state them. */
function fileOf({ rfilename, size, blobId, lfs }: Sibling): RemoteFile {
  const path = typeof rfilename === "string" ? rfilename : "";
  const stated = <T>(what: string, value: T | null): T => {
    if (!isSafe(path)) throw new UserError("the name of a file leaves its directory", { got: JSON.stringify(rfilename) });
    if (value !== null) return value;
    throw new UserError(`the hub doesn't state a file's ${what}, as some mirrors don't: set HF_ENDPOINT to one that does`, { file: path });
  };
  return {
    path,
    get bytes() {
      const bytes = lfs?.size ?? size;
      return stated("size", typeof bytes === "number" && Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : null);
    },
    get digest() {
      const large = isHex(lfs?.sha256, 64) ? ({ kind: "sha256", hex: lfs.sha256 } as const) : null;
      const small = isHex(blobId, 40) ? ({ kind: "git", hex: blobId } as const) : null;
      return stated("digest", lfs ? large : small);
    },
  };
}

function isHex(value: unknown, length: number): value is string {
  return typeof value === "string" && value.length === length && /^[0-9a-f]+$/.test(value);
}

/** Whether a path from the hub stays below the directory it is put in. */
function isSafe(path: string): boolean {
  return path.split("/").every((part) => part !== "" && part !== "." && part !== ".." && !/[\\\0]/.test(part));
}
