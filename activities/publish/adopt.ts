import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ForbiddenError } from "../../core/errors.js";
import { CARD, MANIFEST, manifestText, type Manifest } from "../../core/format/manifest.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import { readAll } from "../../infra/store/store.js";
import type { SmallFiles } from "./place.js";
import { readableManifest } from "./readable-manifest.js";

/**
 * The manifest to publish, and the bytes of a card that was sent for it. Several runs may come to the same model, here or
 * elsewhere, at once or one after the other; only their cards differ, because a card tells what happened to its run. All of
 * them publish the first run's card and so the same manifest, because `latest.json` and models that were tuned from this one
 * name the manifest's digest. Card and manifest then lie in the stage's directory, and other files that are missing are sent again.
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
  const published = bytes === null ? null : readableManifest(bytes, `${store.uri}/${made.name}/${MANIFEST}`);
  if (published === null) {
    // no manifest names a card yet: the first card there is used by all runs, because others may be about to publish the same
    const ownCard = await readFile(join(directory, CARD));
    if (await store.create(`${made.name}/${CARD}`, ownCard)) return { manifest: made, claimed: ownCard.length };
  } else if (!isDeepStrictEqual(withoutCard(published), withoutCard(made))) return { manifest: made, claimed: 0 };
  else if (cardDigest(published) === cardDigest(made)) {
    await writeFileAtomic(join(directory, MANIFEST), bytes!);
    return { manifest: published, claimed: 0 };
  }
  const card = await read(CARD);
  if (card === null || (published !== null && sha256(card) !== cardDigest(published))) {
    say(
      `the card of ${made.name} is gone or damaged: the model gets this run's card and so another manifest, and models that were tuned from it before no longer verify`,
    );
    return { manifest: made, claimed: 0 };
  }
  // after a kill the card may be this run's own
  if (sha256(card) !== cardDigest(made))
    say(`${made.name} is published already, or at this moment: it keeps its card, which tells of the run that came first`);
  const manifest = published ?? withCard(made, { sha256: sha256(card), bytes: card.length });
  await writeFileAtomic(join(directory, CARD), card);
  await writeFileAtomic(join(directory, MANIFEST), published === null ? manifestText(manifest) : bytes!);
  return { manifest, claimed: 0 };
}

function withCard(manifest: Manifest, card: { readonly sha256: string; readonly bytes: number }): Manifest {
  return { ...manifest, files: manifest.files.map((file) => (file.name === CARD ? { ...file, ...card } : file)) };
}

function withoutCard(manifest: Manifest): Manifest {
  return { ...manifest, files: manifest.files.filter(({ name }) => name !== CARD) };
}

function cardDigest({ files }: Manifest): string | undefined {
  return files.find(({ name }) => name === CARD)?.sha256;
}
