import { readFile } from "node:fs/promises";
import type { Remote, RemoteFile } from "../../infra/sources/remote.js";

/** Text of one of a remote place's files, and the bytes that came over the wire for it. */
export async function fetchText(
  remote: Remote,
  files: readonly RemoteFile[],
  path: string,
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly fetched: number }> {
  const wanted = files.filter((file) => file.path === path);
  await remote.checkSpace(await remote.missing(wanted));
  const [cached] = await remote.fetch(wanted, { signal, onBytes: () => undefined, onNote: () => undefined });
  return { text: await readFile(cached!.blob, "utf8"), fetched: cached!.fetched };
}
