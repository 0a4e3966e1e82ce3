import { pathToFileURL } from "node:url";
import { UserError } from "../../core/errors.js";
import { PassingError, TIMING, withRetries, type Watch } from "../http/retries.js";
import { getFromHub, type HubAccess } from "../sources/hub/access.js";
import { fileUrl, parseRepository } from "../sources/hub/repository.js";
import type { RemoteFile } from "../sources/remote.js";
import { hubFetch } from "./hub-fetch.js";
import { HubRefusal, StaleAddressError } from "./refusals.js";

/** A commit's id and its files. */
export interface HubCommit {
  readonly commit: string;
  readonly files: readonly RemoteFile[];
}

/** Branches and tags, by name. */
export interface HubRefs {
  readonly branches: ReadonlySet<string>;
  readonly tags: ReadonlySet<string>;
}

/** What a commit changes. */
export interface HubChange {
  readonly branch: string;
  /** the branch's last commit, as far as the writer knows */
  readonly parent: string;
  readonly title: string;
  readonly description: string;
  /** paths in the repository, and where the files lie on this machine */
  readonly files: ReadonlyMap<string, string>;
  readonly removed: readonly string[];
}

/** A model repository on the hub that is written to. Calls throw UserError, or UnreachableError after several tries. */
export interface HubRepository {
  readonly id: string;
  /** null: there is no such repository */
  refs(): Promise<HubRefs | null>;
  /** What a branch, tag or commit holds; null: there is none. */
  at(revision: string): Promise<HubCommit | null>;
  /** The last commits of a branch, the newest first: as many as the hub gives at a time. */
  commits(branch: string): Promise<readonly { readonly id: string; readonly title: string }[]>;
  /** A small file of a commit. */
  read(commit: string, path: string): Promise<Buffer>;
  /** Makes the repository, private. */
  create(): Promise<void>;
  /** Sends what is missing of the large files, and makes one commit; null: the branch has moved. `onShare` hears how much of a file has arrived. */
  commit(change: HubChange, onShare: (path: string, share: number) => void): Promise<string | null>;
  /** False: there is a branch or a tag of this name. */
  branch(name: string, commit: string): Promise<boolean>;
  /** False: there is a branch or a tag of this name. */
  tag(name: string, commit: string): Promise<boolean>;
  removeBranch(name: string): Promise<void>;
  removeTag(name: string): Promise<void>;
}

/** The repository `owner/name` of a hub; `watch` ends every call, and hears why requests are made again. */
export function hubRepository(access: HubAccess, id: string, watch: Watch): HubRepository {
  const { timing = TIMING } = access;
  const send = hubFetch(access, id, watch);
  const api = `${access.endpoint}/api/models/${id}`;
  const answered = async (url: string, method = "GET", body?: unknown): Promise<unknown> => {
    const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    const text = await (await send(url, { method, ...json })).text();
    return text === "" ? null : (JSON.parse(text) as unknown);
  };
  const made = async (url: string, body: unknown): Promise<boolean> =>
    (await unless(
      409,
      answered(url, "POST", body).then(() => true as const),
    )) ?? false;
  return {
    id,
    async refs() {
      const refs = (await unless(404, answered(`${api}/refs`))) as { branches?: Named[]; tags?: Named[] } | null;
      const names = (all: readonly Named[] = []): ReadonlySet<string> => new Set(all.map(({ name }) => name));
      return refs === null ? null : { branches: names(refs.branches), tags: names(refs.tags) };
    },
    async at(revision) {
      const found = await unless(404, answered(`${api}/revision/${encodeURIComponent(revision)}?blobs=true`));
      return found === null ? null : parseRepository(found);
    },
    commits: async (branch) => ((await answered(`${api}/commits/${encodeURIComponent(branch)}`)) ?? []) as { id: string; title: string }[],
    read: (commit, path) =>
      withRetries(
        timing,
        watch,
        () => 0,
        async () => {
          const chunks: Buffer[] = [];
          const url = fileUrl(access, { kind: "models", id, revision: commit, commit, files: [] }, path);
          await getFromHub(access, url, { signal: watch.signal }, (chunk) => void chunks.push(Buffer.from(chunk)));
          return Buffer.concat(chunks);
        },
      ),
    async create() {
      const [organization, name] = id.split("/");
      await made(`${access.endpoint}/api/repos/create`, { type: "model", organization, name, visibility: "private" });
      // a hub that does not know the setting would show the model to everybody
      const there = (await unless(404, answered(api))) as { private?: unknown } | null;
      if (there === null)
        throw new UserError("the hub has such a repository, and does not show it: check the rights of HF_TOKEN", { repository: id });
      if (there.private !== true)
        throw new UserError(
          "the hub has made the repository public, and nothing was sent: make it private on its page, or leave it so, and publish again",
          {
            repository: id,
          },
        );
    },
    async commit({ branch, parent, title, description, files, removed }, onShare) {
      // the hub's client is loaded by those that publish there alone
      const { commitIter } = await import("@huggingface/hub");
      const landed = new Set<string>();
      return await withRetries(
        timing,
        watch,
        () => landed.size,
        async () => {
          const steps = commitIter({
            repo: { type: "model", name: id },
            hubUrl: access.endpoint,
            branch,
            parentCommit: parent,
            title,
            description,
            operations: [
              ...[...files].map(([path, file]) => ({ operation: "addOrUpdate" as const, path, content: pathToFileURL(file) })),
              ...removed.map((path) => ({ operation: "delete" as const, path })),
            ],
            fetch: send,
            abortSignal: watch.signal,
            useXet: false,
          });
          try {
            for (;;) {
              const step = await steps.next();
              if (step.done === true) return step.value!.commit.oid;
              if (step.value.event !== "fileProgress" || step.value.state !== "uploading") continue;
              const { path, progress } = step.value;
              onShare(path, progress);
              if (progress === 1) landed.add(path);
            }
          } catch (error) {
            watch.signal.throwIfAborted();
            if (error instanceof HubRefusal && (error.status === 409 || error.status === 412)) return null;
            // the hub signs new addresses for what has not arrived
            if (error instanceof StaleAddressError) throw new PassingError(error.message);
            throw error;
          }
        },
      );
    },
    branch: (name, startingPoint) => made(`${api}/branch/${encodeURIComponent(name)}`, { startingPoint }),
    tag: (tag, commit) => made(`${api}/tag/${encodeURIComponent(commit)}`, { tag, message: `Published by Roslin as ${tag}` }),
    async removeBranch(name) {
      await unless(404, answered(`${api}/branch/${encodeURIComponent(name)}`, "DELETE"));
    },
    async removeTag(name) {
      await unless(404, answered(`${api}/tag/${encodeURIComponent(name)}`, "DELETE"));
    },
  };
}

interface Named {
  readonly name: string;
}

/** Null where the hub refuses with this status. */
async function unless<T>(status: number, asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof HubRefusal && error.status === status) return null;
    throw error;
  }
}
