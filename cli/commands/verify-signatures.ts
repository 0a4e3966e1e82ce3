import { CorruptError, ForbiddenError, messageOf, UserError } from "../../core/errors.js";
import type { Envelope } from "../../core/format/dsse.js";
import type { Link } from "../../core/format/manifest.js";
import { MODEL_SIGNATURE, NOT_SIGNED, parseBundle, readFilesStatement, type SignedFile } from "../../core/format/model-signature.js";
import { parseProvenance, PROVENANCE, readSubjects, subjectsOf } from "../../core/format/provenance.js";
import { sha256 } from "../../infra/disk/files.js";
import type { Verifier } from "../../infra/signing/keys.js";
import { digestPublished, type Published } from "../../infra/sources/published.js";
import { readAll } from "../../infra/store/store.js";

/** Names that a message lists before it only counts. */
const NAMED = 3;

/** A published model's signatures: whether each is by the key and says what the model's files are. */
export interface Signatures {
  readonly links: readonly Link[];
  /** the signed files, where no key was given to check the signatures with */
  readonly unchecked: readonly string[];
}

/** Checks the signatures of a published model, whose manifest's files are compared with their digests elsewhere. Null as key: only looks. */
export async function checkSignatures(published: Published, key: Verifier | null, signal: AbortSignal): Promise<Signatures> {
  const { uri, manifest } = published;
  const [bundle, attestation] = await Promise.all([MODEL_SIGNATURE, PROVENANCE].map((name) => readSignature(published, name)));
  if (key === null)
    return {
      links: [],
      unchecked: [...(bundle == null ? [] : [`${uri}/${MODEL_SIGNATURE}`]), ...(attestation == null ? [] : [`${uri}/${PROVENANCE}`])],
    };
  const links: Link[] = [];
  let isForeign = false;
  const check = async (name: string, work: () => Promise<string | null>): Promise<void> => {
    const problem = await work().catch((error: unknown) => {
      if (error instanceof CorruptError || error instanceof UserError) return messageOf(error);
      throw error;
    });
    links.push({ link: `${uri}/${name}, signed by the key`, problem });
  };
  await check(MODEL_SIGNATURE, async () => {
    const where = `${uri}/${MODEL_SIGNATURE}`;
    if (bundle == null) return "it is not there: the model was published without publish.sign, or the signature is gone";
    const envelope = parseBundle(bundle.toString(), where);
    const wrong = keyProblem(envelope, key);
    if (wrong !== null) return wrong;
    const { files, left } = readFilesStatement(envelope.payload, where, sha256);
    // a directory that model_signing itself signed
    isForeign = files.every(({ name }) => name !== PROVENANCE);
    return await filesProblem(published, files, left, signal);
  });
  if (!isForeign || attestation !== null)
    await check(PROVENANCE, async () => {
      const where = `${uri}/${PROVENANCE}`;
      if (attestation == null) return "it is not there: the model was published without publish.sign, or the provenance is gone";
      const envelope = parseProvenance(attestation.toString(), where);
      const expected = subjectsOf(manifest.files, published.sha256);
      return keyProblem(envelope, key) ?? difference(expected, readSubjects(envelope.payload, where), "the manifest", "the statement");
    });
  return { links, unchecked: [] };
}

/** Null: there is none, or it may not be read. */
async function readSignature({ store }: Published, name: string): Promise<Buffer | null> {
  return await readAll(store, name).catch((error: unknown) => {
    // without the right to list, S3 calls a missing object forbidden
    if (error instanceof ForbiddenError) return null;
    throw error;
  });
}

function keyProblem(envelope: Envelope, key: Verifier): string | null {
  if (key.holds(envelope)) return null;
  return envelope.keyId === "" || envelope.keyId === key.keyId
    ? "the signature is not one of this key over what it signs: it was changed"
    : `it was signed with another key: the SHA-256 of the public key is ${envelope.keyId}, that of --key is ${key.keyId}`;
}

/** What differs between the files that a signature lists and those that are there; null: nothing. */
async function filesProblem(
  published: Published,
  signed: readonly SignedFile[],
  left: readonly string[],
  signal: AbortSignal,
): Promise<string | null> {
  const { store, manifest } = published;
  const known = new Map(subjectsOf(manifest.files, published.sha256).map(({ name, sha256: digest }) => [name, digest]));
  const there: SignedFile[] = [];
  for (const { name } of signed) {
    const digest = known.get(name) ?? (await digestOf(store, name, signal));
    if (digest !== null) there.push({ name, sha256: digest });
  }
  const names = new Set(there.map(({ name }) => name));
  for (const [name, digest] of known) if (!names.has(name)) there.push({ name, sha256: digest });
  const isLeft = (name: string): boolean => [...NOT_SIGNED, ...left].some((path) => name === path || name.startsWith(`${path}/`));
  return (
    difference(there, signed, "what is there", "the signature") ??
    listed(
      "files that are not signed lie there",
      (await listing(published)).filter((name) => !known.has(name) && !names.has(name) && !isLeft(name)),
    )
  );
}

/** Null: there is no such file, or a name that no store has. */
async function digestOf(store: Published["store"], name: string, signal: AbortSignal): Promise<string | null> {
  return (
    (
      await digestPublished(store, name, signal).catch((error: unknown) => {
        if (error instanceof UserError) return null;
        throw error;
      })
    )?.sha256 ?? null
  );
}

/** The names of all files there; none where they may not be listed. */
async function listing({ store }: Published): Promise<readonly string[]> {
  try {
    return (await store.list("")).map(({ key }) => key);
  } catch (error) {
    if (error instanceof ForbiddenError) return [];
    throw error;
  }
}

function difference(have: readonly SignedFile[], signed: readonly SignedFile[], place: string, statement: string): string | null {
  const digests = new Map(signed.map(({ name, sha256: digest }) => [name, digest]));
  const names = new Set(have.map(({ name }) => name));
  const changed = have.find(({ name, sha256: digest }) => digests.has(name) && digests.get(name) !== digest);
  if (changed !== undefined) return `${changed.name}: ${statement} says ${digests.get(changed.name)!}, ${place} has ${changed.sha256}`;
  return (
    listed(
      `${statement} does not name`,
      have.flatMap(({ name }) => (digests.has(name) ? [] : [name])),
    ) ??
    listed(
      `${statement} names what is gone`,
      signed.flatMap(({ name }) => (names.has(name) ? [] : [name])),
    )
  );
}

function listed(what: string, names: readonly string[]): string | null {
  if (names.length === 0) return null;
  const more = names.length - NAMED;
  return `${what}: ${names.slice(0, NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
