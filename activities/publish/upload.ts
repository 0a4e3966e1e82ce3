import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { MANIFEST, type Manifest } from "../../core/format/manifest.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { StageContext } from "../stage.js";

/** Milliseconds between words of progress while nothing arrives: a part of a slow upload may take a while. */
const REPORT_MS = 1000;

/** Sends every file that isn't there with its digest, and the manifest last: what has a manifest is whole. */
export async function upload(
  store: ObjectStore,
  manifest: Manifest,
  paths: ReadonlyMap<string, string>,
  directory: string,
  sha256: (text: string) => string,
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
    const own = { name: MANIFEST, sha256: sha256(await readFile(join(directory, MANIFEST), "utf8")), bytes: 0 };
    for (const file of [...manifest.files, own]) {
      note = file.name;
      report();
      const before = done;
      const key = `${manifest.name}/${file.name}`;
      const journal = join(journals, sha256(`${store.uri}/${key}`).slice(0, 16));
      const onBytes = (more: number): void => void (done += more);
      const send = (): Promise<boolean> =>
        store.putFile(key, paths.get(file.name) ?? join(directory, MANIFEST), {
          sha256: file.sha256,
          journal,
          onBytes,
          signal: context.signal,
        });
      if (await orDiscard(store, journal, context, send)) sent += file.bytes;
      done = before + file.bytes;
    }
  } finally {
    clearInterval(ticking);
  }
  return { bytes, sent };
}

/** Sends; after a failure that no other try mends, nothing of it stays in the bucket. */
async function orDiscard<T>(store: ObjectStore, journal: string, context: StageContext, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    // what may be refused to us now, such as after credentials expired, is removed or gone on with by the next run
    if ((error instanceof UserError && !context.signal.aborted) || context.abandoned?.() === true)
      await store.discard(journal).catch(() => undefined);
    throw error;
  }
}
