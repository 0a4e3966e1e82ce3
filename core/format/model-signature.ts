import { z } from "zod";
import { CorruptError } from "../errors.js";
import { byPath, envelopeOf, envelopeSchema, openEnvelope, parseSigned, STATEMENT, type Envelope } from "./dsse.js";

/** The signature of a whole directory in the format of OpenSSF model signing 1.0: a Sigstore bundle with a signed list of files. */

/** Name of the signature among the published files. */
export const MODEL_SIGNATURE = "model.sig";

const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PREDICATE = "https://model_signing/signature/v1.0";

/**
 * What `model_signing` does not look at, beside the signature: files of Git, which it leaves out anyway, and what the hub's
 * client keeps in a directory that it downloads to.
 */
export const NOT_SIGNED: readonly string[] = [".cache/huggingface", ".git", ".gitattributes", ".github", ".gitignore", MODEL_SIGNATURE];

/** A file with its digest. */
export interface SignedFile {
  /** relative to the directory, with slashes */
  readonly name: string;
  /** in hex */
  readonly sha256: string;
}

/** SHA-256 in hex of bytes. */
type Sha256 = (bytes: Uint8Array) => string;

const bundleSchema = z.object({
  mediaType: z.literal(BUNDLE),
  verificationMaterial: z.object({ publicKey: z.object({ hint: z.string().optional() }) }),
  dsseEnvelope: envelopeSchema,
});

const statementSchema = z.object({
  _type: z.literal(STATEMENT),
  subject: z.tuple([z.object({ name: z.string(), digest: z.object({ sha256: z.string() }) })]),
  predicateType: z.literal(PREDICATE),
  predicate: z.object({
    // a directory's files may also be cut into pieces, or have digests of another kind
    serialization: z.object({ method: z.literal("files"), hash_type: z.literal("sha256"), ignore_paths: z.array(z.string()).optional() }),
    resources: z.array(z.object({ name: z.string(), algorithm: z.literal("sha256"), digest: z.string().regex(/^[0-9a-f]{64}$/) })),
  }),
});

/** The statement that is signed: the same files give the same text. `model`: a name, which no check depends on. */
export function filesStatement(model: string, files: readonly SignedFile[], sha256: Sha256): string {
  const resources = files
    .toSorted((a, b) => byPath(a.name, b.name))
    .map(({ name, sha256: digest }) => ({ name, algorithm: "sha256", digest }));
  return JSON.stringify({
    _type: STATEMENT,
    subject: [{ name: model, digest: { sha256: rootDigest(resources, sha256) } }],
    predicateType: PREDICATE,
    predicate: {
      serialization: { method: "files", hash_type: "sha256", allow_symlinks: false, ignore_paths: NOT_SIGNED },
      resources,
    },
  });
}

/** The bundle, as the file `model.sig` holds it. */
export function bundleText(envelope: Envelope): string {
  const verificationMaterial = { publicKey: { hint: envelope.keyId }, tlogEntries: [] };
  // model_signing writes no id of the key here, because the hint says it
  return JSON.stringify({ mediaType: BUNDLE, verificationMaterial, dsseEnvelope: envelopeOf({ ...envelope, keyId: "" }) });
}

/** Reads a bundle that was signed with a key. Throws CorruptError that says what is wrong with it. */
export function parseBundle(text: string, where: string): Envelope {
  const { verificationMaterial, dsseEnvelope } = parseSigned(bundleSchema, text, where);
  return { ...openEnvelope(dsseEnvelope, where), keyId: verificationMaterial.publicKey.hint ?? "" };
}

/** What a bundle's statement says: the signed files, and the paths that were left out. Throws CorruptError if it contradicts itself. */
export function readFilesStatement(
  payload: string,
  where: string,
  sha256: Sha256,
): { readonly files: readonly SignedFile[]; readonly left: readonly string[] } {
  const { subject, predicate } = parseSigned(statementSchema, payload, where);
  const got = rootDigest(predicate.resources, sha256);
  const expected = subject[0].digest.sha256;
  if (got !== expected)
    throw new CorruptError("a signature's digest is not that of the files that it lists", { file: where, expected, got });
  return {
    files: predicate.resources.map(({ name, digest }) => ({ name, sha256: digest })),
    left: predicate.serialization.ignore_paths ?? [],
  };
}

/** The digest of the digests' bytes, one after the other. */
function rootDigest(resources: readonly { readonly digest: string }[], sha256: Sha256): string {
  const bytes = resources.flatMap(({ digest }) => (digest.match(/../g) ?? []).map((pair) => parseInt(pair, 16)));
  return sha256(Uint8Array.from(bytes));
}
