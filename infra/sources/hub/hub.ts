import { randomUUID } from "node:crypto";
import { mkdir, readlink, rename, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { messageOf, UnreachableError, UserError } from "../../../core/errors.js";
import { MANIFEST } from "../../../core/format/manifest.js";
import type { HubReference } from "../../../core/config/source-ref.js";
import { bytesPresent } from "../../transfer/blob.js";
import type { Source } from "../../transfer/source.js";
import { fetchAll } from "../../transfer/fetch.js";
import { readStart } from "../../transfer/start.js";
import { loginIn } from "../../http/proxy.js";
import { checkRoom, type Remote, type RemoteFile } from "../remote.js";
import type { Watch } from "../../http/retries.js";
import { withoutSecrets } from "../../http/web.js";
import { hubSource, type HubAccess } from "./access.js";
import { cachedRepository, folderOf, noteCommit, noteFiles } from "./cached.js";
import { publishedOnHub } from "./published-on-hub.js";
import { fileUrl, resolveRepository, statedFile, type Repository } from "./repository.js";

/** Where the hub is, and where its files are kept: the hub directory of the standard cache. */
export interface HubOptions extends HubAccess {
  readonly cacheDirectory: string;
}

/** A hub that speaks the Hugging Face protocol, through a cache that Python's clients read as well. */
export interface Hub {
  /** The commit and files that a reference means now, or meant when they were cached where the hub cannot be reached. Throws UserError, or UnreachableError. */
  resolve(reference: HubReference, signal: AbortSignal, onNote?: Watch["onNote"]): Promise<Remote>;
}

/** A hub client; it reads nothing from the environment. */
export function createHub(options: HubOptions): Hub {
  return {
    async resolve(reference, signal, onNote) {
      const access = accessOf(options);
      try {
        const repository = await resolveRepository(access, reference, onNote === undefined ? { signal } : { signal, onNote });
        return await asPublished(access, remoteOf(access, options.cacheDirectory, repository, false), repository, signal);
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        // offline, what is cached is all that there is; a hub that cannot be reached now may have the rest later
        const cached = await cachedRepository(folderOf(options.cacheDirectory, reference), reference, options.offline === true);
        if (cached === null) throw error;
        onNote?.(`${messageOf(error)}; going on with what the cache has`);
        return remoteOf(access, options.cacheDirectory, cached, true);
      }
    },
  };
}

/** With its manifest, if it is a model that Roslin published. */
async function asPublished(access: HubAccess, remote: Remote, { kind }: Repository, signal: AbortSignal): Promise<Remote> {
  const { uri } = remote.origin;
  // only those that list one are asked for it
  const found = kind === "models" && remote.files.some(({ path }) => path === MANIFEST) ? await publishedOnHub(access, uri, signal) : null;
  if (found === null) return remote;
  const { manifest, sha256 } = found;
  return { ...remote, origin: { uri, manifest: sha256 }, published: { uri, manifest } };
}

/** Moves a password from the hub's address into a header, because addresses end up in messages, histories and logs. Throws UserError for an address or a token that cannot be one. */
export function accessOf({ endpoint, ...others }: HubAccess): HubAccess {
  if (!/^[\x20-\x7e]*$/.test(others.token ?? ""))
    throw new UserError("the token for the hub has characters that no token has: correct HF_TOKEN, or the file that HF_TOKEN_PATH names");
  const url = /^https?:\/\/[^/]/.test(endpoint) && URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (url === null)
    throw new UserError("the hub's address is not an http or https URL: correct HF_ENDPOINT", { got: endpoint.replace(/\/\/.*@/, "//…@") });
  const login = loginIn(url);
  const bare = withoutSecrets(endpoint).replace(/\/+$/, "");
  return login === null ? { ...others, endpoint: bare } : { ...others, endpoint: bare, login };
}

/** `isCached`: the repository is known from the cache, which may have a part of it. */
function remoteOf(access: HubAccess, cache: string, repository: Repository, isCached: boolean): Remote {
  const { id, commit } = repository;
  const folder = folderOf(cache, repository);
  const blobOf = (file: RemoteFile): string => join(folder, "blobs", file.digest.hex);
  const sourceOf = ({ path }: RemoteFile): Source => hubSource({ access, url: fileUrl(access, repository, path) });
  const said = isCached ? " from the cache, for its source cannot be reached" : "";
  return {
    origin: { uri: `hf://${id}@${commit}` },
    title: `${id} at ${commit.slice(0, 12)}${said}`,
    version: commit.slice(0, 12),
    files: repository.files,
    async stated(files, signal) {
      const stated: RemoteFile[] = [];
      for (const file of files) stated.push(await statedFile(access, repository, file, signal));
      return stated;
    },
    start: (file, length, signal) => readStart({ blob: blobOf(file), source: sourceOf(file) }, length, signal),
    async missing(files) {
      let bytes = 0;
      for (const file of files) bytes += file.bytes - (await bytesPresent(blobOf(file), file.bytes));
      return bytes;
    },
    checkSpace: (bytes) => checkRoom(cache, bytes, "HF_HOME"),
    async fetch(files, events) {
      const wanted = files.map((file) => ({
        name: file.path,
        blob: blobOf(file),
        bytes: file.bytes,
        source: sourceOf(file),
        digest: file.digest as { readonly kind: "sha256" | "git"; readonly hex: string },
      }));
      if (!isCached) await noteFiles(folder, repository);
      const noted = { ...events, onNote: (note: string) => events.onNote(`${note}${said}`) };
      const cached = await fetchAll(wanted, noted, (index) => linkSnapshot(folder, commit, files[index]!.path, blobOf(files[index]!)));
      if (!isCached) await noteCommit(folder, repository);
      return cached;
    },
  };
}

/** `snapshots/<commit>/<path>`, a relative link to the blob, as the standard cache has it. */
async function linkSnapshot(folder: string, commit: string, path: string, blob: string): Promise<void> {
  const link = join(folder, "snapshots", commit, path);
  const target = relative(dirname(link), blob);
  if ((await readlink(link).catch(() => null)) === target) return;
  await mkdir(dirname(link), { recursive: true });
  const temporary = `${link}.${randomUUID()}.tmp`;
  await symlink(target, temporary);
  await rename(temporary, link);
}
