import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CorruptError, ForbiddenError } from "../../core/errors.js";
import type { Envelope } from "../../core/format/dsse.js";
import { MANIFEST, type Manifest } from "../../core/format/manifest.js";
import { bundleText, filesStatement, MODEL_SIGNATURE, parseBundle } from "../../core/format/model-signature.js";
import { parseProvenance, PROVENANCE, provenanceStatement, provenanceText, subjectsOf } from "../../core/format/provenance.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import type { Signer } from "../../infra/signing/keys.js";
import { readAll } from "../../infra/store/store.js";
import type { SmallFiles } from "./place.js";

/** Names of the signed files, in the order in which they are made: the last one signs the others. */
export const SIGNATURES: readonly string[] = [PROVENANCE, MODEL_SIGNATURE];

/** Reads a file that is published already, by its name in the model; null: there is none. */
export type ReadPublished = (name: string) => Promise<Buffer | null>;

/** What was published of each signature when a model was signed; null: nothing. */
export type Before = ReadonlyMap<string, Buffer | null>;

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
 * together; both files then lie there too. Every signature of the same statement is another one, so one that is there or
 * published and holds stays: after a kill, and where another run of the same model was first.
 */
export async function signModel(published: ReadPublished, manifest: Manifest, directory: string, signer: Signer): Promise<Before> {
  const manifestDigest = sha256(await readFile(join(directory, MANIFEST)));
  const before = new Map<string, Buffer | null>();
  const keep = async (form: Form, statement: string): Promise<string> => {
    const there = await published(form.name);
    before.set(form.name, there);
    return await keepSigned(there, directory, signer, form, statement);
  };
  const provenance = await keep(ATTESTATION, provenanceStatement(manifest, manifestDigest, sha256));
  const files = [...subjectsOf(manifest.files, manifestDigest), { name: PROVENANCE, sha256: sha256(provenance) }];
  await keep(BUNDLE, filesStatement(manifest.name, files, sha256));
  return before;
}

/** Whether what a finished stage published was signed with another key than a run has now. */
export async function isSignedOtherwise(directory: string, signer: Signer): Promise<boolean> {
  const path = join(directory, MODEL_SIGNATURE);
  const text = await readFile(path, "utf8").catch(() => null);
  return text === null || held(BUNDLE, text, path)?.keyId !== signer.keyId;
}

/** How a model's files in a store are read; one that may not be read counts as missing. */
export function readPublishedIn(store: SmallFiles, model: string): ReadPublished {
  return (name) =>
    readAll(store, `${model}/${name}`).catch((error: unknown) => {
      // without the right to list, S3 calls a missing object forbidden
      if (error instanceof ForbiddenError) return null;
      throw error;
    });
}

/** Writes a model's signatures from the stage's directory to a store. False: another run has written others since, which may hold. */
export async function sendSignatures(store: SmallFiles, model: string, directory: string, before: Before): Promise<boolean> {
  for (const [name, there] of before) {
    const own = await readFile(join(directory, name));
    if (there?.equals(own) === true) continue;
    const key = `${model}/${name}`;
    if (!(await (there === null ? store.create(key, own) : store.replace(key, own, there)))) return false;
  }
  return true;
}

/** The text of a signature of the statement, which then lies in the directory. */
async function keepSigned(published: Buffer | null, directory: string, signer: Signer, form: Form, statement: string): Promise<string> {
  const path = join(directory, form.name);
  const holds = (text: string | undefined, where: string): text is string => {
    const envelope = text === undefined ? null : held(form, text, where);
    return envelope?.payload === statement && envelope.keyId === signer.keyId && signer.holds(envelope);
  };
  const there = published?.toString();
  const own = await readFile(path, "utf8").catch(() => undefined);
  const text = holds(there, form.name) ? there : holds(own, path) ? own : form.write(signer.sign(statement));
  if (text !== own) await writeFileAtomic(path, text);
  return text;
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
