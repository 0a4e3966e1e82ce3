import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CorruptError, ForbiddenError } from "../../core/errors.js";
import type { Envelope } from "../../core/format/dsse.js";
import { MANIFEST, type Manifest } from "../../core/format/manifest.js";
import { bundleText, filesStatement, MODEL_SIGNATURE, parseBundle } from "../../core/format/model-signature.js";
import { parseProvenance, PROVENANCE, provenanceStatement, provenanceText, subjectsOf } from "../../core/format/provenance.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import type { Signer } from "../../infra/signing/keys.js";
import { readAll, type ObjectStore } from "../../infra/store/store.js";

/** Tries that may lose against other runs that publish the same model; after more of them something else must be wrong. */
const TRIES = 5;

/** How a signature is written in a file, and read from it. */
interface Form {
  readonly name: string;
  write(envelope: Envelope): string;
  read(text: string, where: string): Envelope;
}

const BUNDLE: Form = { name: MODEL_SIGNATURE, write: bundleText, read: parseBundle };
const ATTESTATION: Form = { name: PROVENANCE, write: provenanceText, read: parseProvenance };

/**
 * Signs a manifest that lies in the stage's directory, with the files that it lists: its provenance, and then all of them
 * together. Every signature of the same statement is another one, so one that is there and holds stays: after a kill, and where
 * another run of the same model was first. Resolves to the names of the signed files, which then lie in the store.
 */
export async function signPublished(store: ObjectStore, manifest: Manifest, directory: string, signer: Signer): Promise<readonly string[]> {
  const manifestDigest = sha256(await readFile(join(directory, MANIFEST)));
  const keep = (form: Form, statement: string): Promise<string> => keepSigned(store, manifest.name, directory, signer, form, statement);
  const provenance = await keep(ATTESTATION, provenanceStatement(manifest, manifestDigest, sha256));
  const files = [...subjectsOf(manifest.files, manifestDigest), { name: PROVENANCE, sha256: sha256(provenance) }];
  await keep(BUNDLE, filesStatement(manifest.name, files, sha256));
  return [PROVENANCE, MODEL_SIGNATURE];
}

/** Whether what a finished stage published was signed with another key than a run has now. */
export async function isSignedOtherwise(directory: string, signer: Signer): Promise<boolean> {
  const path = join(directory, MODEL_SIGNATURE);
  const text = await readFile(path, "utf8").catch(() => null);
  return text === null || held(BUNDLE, text, path)?.keyId !== signer.keyId;
}

/** The text of a signature of the statement, which then lies in the store and in the directory. */
async function keepSigned(
  store: ObjectStore,
  model: string,
  directory: string,
  signer: Signer,
  form: Form,
  statement: string,
): Promise<string> {
  const key = `${model}/${form.name}`;
  const path = join(directory, form.name);
  const holds = (text: string, where: string): boolean => {
    const envelope = held(form, text, where);
    return envelope?.payload === statement && envelope.keyId === signer.keyId && signer.holds(envelope);
  };
  for (let tried = 0; tried < TRIES; tried++) {
    // without the right to list, S3 calls a missing object forbidden
    const there = await readAll(store, key).catch((error: unknown) => {
      if (!(error instanceof ForbiddenError)) throw error;
      return null;
    });
    if (there !== null && holds(there.toString(), `${store.uri}/${key}`)) {
      await writeFileAtomic(path, there);
      return there.toString();
    }
    const own = await readFile(path, "utf8").catch(() => null);
    const text = own !== null && holds(own, path) ? own : form.write(signer.sign(statement));
    await writeFileAtomic(path, text);
    const bytes = Buffer.from(text);
    if (there === null ? await store.create(key, bytes) : await store.replace(key, bytes, there)) return text;
  }
  throw new Error(`${store.uri}/${key} could not be written, because other runs keep writing it`);
}

/** Null: it is damaged, or something else. */
function held(form: Form, text: string, where: string): Envelope | null {
  try {
    return form.read(text, where);
  } catch (error) {
    if (error instanceof CorruptError) return null;
    throw error;
  }
}
