import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { MANIFEST } from "../../core/format/manifest.js";
import { digestFile } from "../../infra/disk/file-digest.js";
import { sha256 } from "../../infra/disk/files.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { StageContext } from "../common/stage.js";
import type { PublishedModel } from "./place.js";

/**
 * Milliseconds between words of progress, whether or not something arrives: parts of 32 MiB over a slow line take longer
 * than work may stand still, and a request in which no byte moves ends by itself after a minute.
 */
export const REPORT_MS = 1000;

/** Sends every file that isn't there with its digest, and the manifest last: what has a manifest is whole. */
export async function upload(
  store: ObjectStore,
  { manifest, paths, digests }: PublishedModel,
  directory: string,
  context: StageContext,
): Promise<{ readonly bytes: number; readonly sent: number }> {
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const journals = join(directory, "uploads");
  await mkdir(journals, { recursive: true });
  let done = 0;
  let sent = 0;
  let note = "";
  const report = (): void => context.progress({ stage: "publish", done: Math.min(done, bytes), total: bytes, unit: "bytes", note });
  const ticking = setInterval(report, REPORT_MS);
  try {
    // one after the other, the manifest last
    for (const file of [...manifest.files, { name: MANIFEST, sha256: null, bytes: 0 }]) {
      note = file.name;
      report();
      const before = done;
      const key = `${manifest.name}/${file.name}`;
      const journal = join(journals, sha256(`${store.uri}/${key}`).slice(0, 16));
      const onBytes = (more: number): void => void (done += more);
      const path = paths.get(file.name) ?? join(directory, MANIFEST);
      // the manifest, and a card that was published before, have not been digested yet
      const digest = digests.get(file.sha256 ?? "") ?? (await digestFile(path, context.signal));
      const send = (): Promise<boolean> => store.putFile(key, path, { digest, journal, onBytes, signal: context.signal });
      if (await orDiscard(store, journal, context, send)) sent += file.bytes;
      done = before + file.bytes;
    }
  } finally {
    clearInterval(ticking);
  }
  return { bytes, sent };
}

/** Sends; after a failure that is final nothing of it stays in the bucket. */
async function orDiscard<T>(store: ObjectStore, journal: string, context: StageContext, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    // if even that is refused now, such as with expired credentials, the next run removes it or goes on with it
    if (error instanceof UserError && !context.signal.aborted) await store.discard(journal).catch(() => undefined);
    throw error;
  }
}
