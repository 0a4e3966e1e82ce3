import { readFile } from "node:fs/promises";
import { refuseLfsContent } from "../../infra/disk/lfs-pointer.js";
import type { Remote, RemoteFile } from "../../infra/sources/remote.js";

/** Text of one of a remote place's files, and the bytes that came over the wire for it. Throws UserError if it is a Git LFS pointer. */
export async function fetchText(
  remote: Remote,
  files: readonly RemoteFile[],
  path: string,
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly fetched: number }> {
  const wanted = files.filter((file) => file.path === path);
  await remote.checkSpace(await remote.missing(wanted));
  const [cached] = await remote.fetch(wanted, { signal, onBytes: () => undefined, onNote: () => undefined });
  const content = await readFile(cached!.blob);
  refuseLfsContent(content, `${path} of ${remote.title}`);
  return { text: content.toString("utf8"), fetched: cached!.fetched };
}
