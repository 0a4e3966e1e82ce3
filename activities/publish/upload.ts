import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
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
    for (const file of manifest.files) {
      note = file.name;
      report();
      const before = done;
      const journal = join(journals, sha256(`${store.uri}/${manifest.name}/${file.name}`).slice(0, 16));
      const onBytes = (more: number): void => void (done += more);
      const isNew = await store.putFile(`${manifest.name}/${file.name}`, paths.get(file.name)!, {
        sha256: file.sha256,
        journal,
        onBytes,
        signal: context.signal,
      });
      if (isNew) sent += file.bytes;
      done = before + file.bytes;
    }
    note = MANIFEST;
    report();
  } finally {
    clearInterval(ticking);
  }
  await store.write(`${manifest.name}/${MANIFEST}`, await readFile(join(directory, MANIFEST)));
  return { bytes, sent };
}
