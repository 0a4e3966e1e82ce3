import { randomUUID } from "node:crypto";
import { mkdir, readlink, rename, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { UserError } from "../../core/errors.js";
import type { HubReference } from "../../core/sources.js";
import { writeFileAtomic } from "../files.js";
import { bytesPresent } from "../remote/blob.js";
import { fetchAll } from "../remote/fetch.js";
import { loginIn } from "../remote/proxy.js";
import { checkRoom, type Remote, type RemoteFile } from "../remote/remote.js";
import type { Watch } from "../remote/retries.js";
import { withoutSecrets, type WebAccess } from "../remote/web.js";
import { fileUrl, resolveRepository, type Repository } from "./repository.js";

/** Where the hub is, and where its files are kept: the hub directory of the standard cache. */
export interface HubOptions extends WebAccess {
  readonly cacheDirectory: string;
}

/** A hub that speaks the Hugging Face protocol, through a cache that Python's clients read as well. */
export interface Hub {
  /** The commit and files that a reference means now. Throws UserError, or UnreachableError. */
  resolve(reference: HubReference, signal: AbortSignal, onNote?: Watch["onNote"]): Promise<Remote>;
}

/** A hub client; it reads nothing from the environment. */
export function createHub(options: HubOptions): Hub {
  return {
    async resolve(reference, signal, onNote) {
      const access = accessOf(options);
      const repository = await resolveRepository(access, reference, onNote === undefined ? { signal } : { signal, onNote });
      return remoteOf(access, options.cacheDirectory, repository);
    },
  };
}

/** A password in the hub's address goes into a header: addresses get into messages, and those into histories and logs. */
function accessOf({ endpoint, ...others }: HubOptions): WebAccess {
  if (!/^[\x20-\x7e]*$/.test(others.token ?? ""))
    throw new UserError("the token for the hub has characters that no token has: correct HF_TOKEN, or the file that HF_TOKEN_PATH names");
  const url = /^https?:\/\/[^/]/.test(endpoint) && URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (url === null)
    throw new UserError("the hub's address is no http or https URL: correct HF_ENDPOINT", { got: endpoint.replace(/\/\/.*@/, "//…@") });
  const login = loginIn(url);
  const bare = withoutSecrets(endpoint).replace(/\/+$/, "");
  return login === null ? { ...others, endpoint: bare } : { ...others, endpoint: bare, login };
}

function remoteOf(access: WebAccess, cache: string, repository: Repository): Remote {
  const { kind, id, commit } = repository;
  const folder = join(cache, `${kind}--${id.replaceAll("/", "--")}`);
  const blobOf = (file: RemoteFile): string => join(folder, "blobs", file.digest.hex);
  return {
    origin: { uri: `hf://${id}@${commit}` },
    title: `${id} at ${commit.slice(0, 12)}`,
    version: commit.slice(0, 12),
    files: repository.files,
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
        source: { kind: "web", access, address: fileUrl(access, repository, file.path) } as const,
        digest: file.digest as { readonly kind: "sha256" | "git"; readonly hex: string },
      }));
      const cached = await fetchAll(wanted, events, (index) => linkSnapshot(folder, commit, files[index]!.path, blobOf(files[index]!)));
      if (repository.revision !== commit) await writeFileAtomic(join(folder, "refs", repository.revision), commit);
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
