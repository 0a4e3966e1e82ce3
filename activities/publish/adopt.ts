import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { CorruptError, ForbiddenError } from "../../core/errors.js";
import { MANIFEST, manifestText, parseManifest, type Manifest } from "../../core/format/manifest.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import { readAll } from "../../infra/store/store.js";
import type { SmallFiles } from "./place.js";
import { digestIn, TOLD, TOLD_WORDS, withFile, withoutTold } from "./told.js";

/**
 * The manifest to publish, and the bytes of a card and a report that were sent for it. Several runs may come to the same
 * model, here or elsewhere, at once or one after the other; only what tells of them differs. All of them publish the first
 * card and the first report and so the same manifest, because `latest.json` and models that were tuned from this one name the
 * manifest's digest. Both and the manifest then lie in the stage's directory, and other files that are missing are sent again.
 */
export async function adopt(
  store: SmallFiles,
  made: Manifest,
  directory: string,
  say: (note: string) => void,
): Promise<{ readonly manifest: Manifest; readonly claimed: number }> {
  // without the right to list, S3 calls a missing object forbidden
  const read = (name: string): Promise<Uint8Array | null> =>
    readAll(store, `${made.name}/${name}`).catch((error: unknown) => {
      if (!(error instanceof ForbiddenError)) throw error;
      return null;
    });
  const bytes = await read(MANIFEST);
  const published = bytes === null ? null : parsed(bytes, `${store.uri}/${made.name}/${MANIFEST}`);
  if (published !== null && !isDeepStrictEqual(withoutTold(published), withoutTold(made))) return { manifest: made, claimed: 0 };
  let manifest = made;
  let claimed = 0;
  let isOther = false;
  // each for itself: of runs at the same moment one may be first with its card and another with its report
  for (const name of TOLD) {
    if (published === null) {
      // no manifest names one yet: the first one there is used by all runs, because others may be about to publish the same
      const own = await readFile(join(directory, name));
      if (await store.create(`${made.name}/${name}`, own)) {
        claimed += own.length;
        continue;
      }
    } else if (digestIn(published, name) === digestIn(made, name)) continue;
    const there = await read(name);
    if (there === null || (published !== null && sha256(there) !== digestIn(published, name))) {
      say(
        `the ${TOLD_WORDS[name]} of ${made.name} is gone or damaged: the model gets this run's ${TOLD_WORDS[name]} and so another manifest, and models that were tuned from it before no longer verify`,
      );
      continue;
    }
    // after a kill it may be this run's own
    isOther ||= sha256(there) !== digestIn(made, name);
    manifest = withFile(manifest, name, { sha256: sha256(there), bytes: there.length });
    await writeFileAtomic(join(directory, name), there);
  }
  if (isOther)
    say(`${made.name} is published already, or at this moment: it keeps its card and report, which tell of the run that came first`);
  const isPublished = published !== null && isDeepStrictEqual(manifest, published);
  await writeFileAtomic(join(directory, MANIFEST), isPublished ? bytes! : manifestText(manifest));
  return { manifest: isPublished ? published : manifest, claimed };
}

/** Null: it is damaged, so nothing in it counts. */
function parsed(bytes: Uint8Array, where: string): Manifest | null {
  try {
    return parseManifest(Buffer.from(bytes).toString(), where);
  } catch (error) {
    if (error instanceof CorruptError) return null;
    throw error;
  }
}
