import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { CorruptError, ForbiddenError } from "../../core/errors.js";
import { CARD, MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { PublishDependencies } from "./index.js";

/**
 * The manifest to publish: of a training that came to the same before, elsewhere or in a lost directory, the published one with
 * its card, for models that were tuned from it name that manifest's digest. Only the cards differ, in what befell the runs.
 * Both then lie in the stage's directory, and what else is missing there is sent again under them.
 */
export async function adopt(
  { files, readAll, sha256 }: Pick<PublishDependencies, "files" | "readAll" | "sha256">,
  store: ObjectStore,
  made: Manifest,
  directory: string,
  say: (note: string) => void,
): Promise<Manifest> {
  // without the right to list, S3 calls a missing object forbidden
  const read = (name: string): Promise<Uint8Array | null> =>
    readAll(store, `${made.name}/${name}`).catch((error: unknown) => {
      if (!(error instanceof ForbiddenError)) throw error;
      return null;
    });
  const bytes = await read(MANIFEST);
  const there = bytes === null ? null : parsed(bytes, `${store.uri}/${made.name}/${MANIFEST}`);
  if (there === null || !isDeepStrictEqual(withoutCard(there), withoutCard(made))) return made;
  const digest = cardDigest(there);
  if (digest !== cardDigest(made)) {
    const card = await read(CARD);
    if (card === null || sha256(card) !== digest) {
      say(
        `the card of ${made.name} is gone or damaged, so that it gets this run's, and another manifest: what was tuned from it before no longer verifies`,
      );
      return made;
    }
    say(`${made.name} is published already: it keeps its card, which tells of the run that came first`);
    await files.writeFileAtomic(join(directory, CARD), card);
  }
  await files.writeFileAtomic(join(directory, MANIFEST), bytes!);
  return there;
}

/** Null: it is damaged, so that it says nothing that could stand. */
function parsed(bytes: Uint8Array, where: string): Manifest | null {
  try {
    return parseManifest(Buffer.from(bytes).toString(), where);
  } catch (error) {
    if (error instanceof CorruptError) return null;
    throw error;
  }
}

function withoutCard(manifest: Manifest): Manifest {
  return { ...manifest, files: manifest.files.filter(({ name }) => name !== CARD) };
}

function cardDigest({ files }: Manifest): string | undefined {
  return files.find(({ name }) => name === CARD)?.sha256;
}
