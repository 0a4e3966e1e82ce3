import { once } from "node:events";
import { PassThrough, type Readable } from "node:stream";
import { parseSource } from "../../../core/config/source-ref.js";
import { UserError } from "../../../core/errors.js";
import { TIMING, withRetries } from "../../http/retries.js";
import type { ObjectStore } from "../../store/store.js";
import type { PublishedFiles } from "../published-files.js";
import { getFromHub, type HubAccess } from "./access.js";
import { fileUrl, resolveRepository, type Repository } from "./repository.js";

/** Bytes that wait for their reader at most: a file is read as it comes. */
const WAITING_BYTES = 8 << 20;

/** The files of a model repository at the revision that `uri` names, which is looked up once, to be read as those of a store; `pinned` resolves to their address with the commit. */
export function hubFiles(
  access: HubAccess,
  uri: string,
  signal: AbortSignal,
): PublishedFiles & Pick<ObjectStore, "uri"> & { readonly pinned: () => Promise<string> } {
  const source = parseSource(uri);
  if (source.kind !== "hub") throw new UserError("a place is not on the hub", { expected: "hf://owner/name@revision", got: uri });
  let repository: Promise<Repository> | null = null;
  const resolved = (): Promise<Repository> =>
    (repository ??= resolveRepository(access, { kind: "models", id: source.id, revision: source.revision }, { signal }));
  return {
    uri,
    pinned: async () => `hf://${source.id}@${(await resolved()).commit}`,
    async list(prefix) {
      return (await resolved()).files.flatMap(({ path }) => (path.startsWith(prefix) ? [{ key: path }] : []));
    },
    async read(key) {
      const found = await resolved();
      if (!found.files.some(({ path }) => path === key)) return null;
      return streamed(access, fileUrl(access, found, key), signal);
    },
  };
}

/** A file's bytes as they come; after a failure, all that came before is asked for again and passed over. */
function streamed(access: HubAccess, url: string, outer: AbortSignal): Readable {
  const closed = new AbortController();
  const signal = AbortSignal.any([outer, closed.signal]);
  const stream = new PassThrough({ highWaterMark: WAITING_BYTES });
  stream.once("close", () => closed.abort());
  let bytes = 0;
  const fetched = withRetries(
    access.timing ?? TIMING,
    { signal },
    () => bytes,
    async () => {
      let skip = bytes;
      await getFromHub(access, url, { signal }, (chunk) => {
        const fresh = chunk.subarray(Math.min(chunk.length, skip));
        skip -= chunk.length - fresh.length;
        bytes += fresh.length;
        // a chunk is valid during this call alone
        if (fresh.length === 0 || stream.write(Buffer.from(fresh))) return undefined;
        return once(stream, "drain", { signal }).then(() => undefined);
      });
    },
  );
  fetched.then(
    () => stream.end(),
    (error: Error) => stream.destroy(error),
  );
  return stream;
}
