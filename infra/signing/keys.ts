import { createHash, createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { SignSettings } from "../../core/config/sign.js";
import { UserError } from "../../core/errors.js";
import { signedBytes, type Envelope } from "../../core/format/dsse.js";

/** Keys for signing: PEM, ECDSA on one of NIST's curves. No message here repeats anything of a private key. */

/** The curves that model_signing takes, by OpenSSL's name, with the name that people use and the digest that goes with each. */
const CURVES: Readonly<Record<string, { readonly name: string; readonly digest: string }>> = {
  prime256v1: { name: "P-256", digest: "sha256" },
  secp384r1: { name: "P-384", digest: "sha384" },
  secp521r1: { name: "P-521", digest: "sha512" },
};

const MAKE_ONE = "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem`";

/** A private key that can sign. */
export interface Signer {
  /** SHA-256 of the public key's PEM, as a signature names its key */
  readonly keyId: string;
  /** what the user should know of the key; null: nothing */
  readonly note: string | null;
  /** Signs an in-toto statement; every signature of the same text is another one. */
  sign(payload: string): Envelope;
  /** Whether an envelope was signed with this key. */
  holds(envelope: Envelope): boolean;
}

/** A public key that can check signatures. */
export type Verifier = Pick<Signer, "keyId" | "holds">;

/** Opens the key that a run signs with. Throws UserError that names what is wrong with it. */
export async function openSigner(settings: SignSettings, variables: Readonly<Record<string, string | undefined>>): Promise<Signer> {
  const where = { setting: "publish.sign.key", key: settings.key };
  const { pem, note } = await readKey(settings.key, variables, where);
  const key = privateKey(pem, settings.passphrase, variables, where);
  const { digest } = curveOf(key, where);
  const { keyId, holds } = verifierOf(createPublicKey(key), where);
  return {
    keyId,
    note,
    holds,
    sign: (payload) => ({ payload, signatures: [sign(digest, signedBytes(payload), key)], keyId }),
  };
}

/** Opens a file with a public key in PEM. Throws UserError that names what is wrong with it. */
export async function openVerifier(path: string): Promise<Verifier> {
  const where = { option: "--key", file: path };
  const pem = await readFile(path, "utf8").catch((error: unknown) => {
    throw new UserError("the public key cannot be read", where, { cause: error });
  });
  if (/PRIVATE KEY-----/.test(pem))
    throw new UserError("this is a private key: give the public one, which `openssl pkey -in KEY.pem -pubout -out PUB.pem` makes", where);
  if (!/-----BEGIN PUBLIC KEY-----/.test(pem))
    throw new UserError("this is not a public key in PEM", { ...where, expected: "-----BEGIN PUBLIC KEY-----" });
  try {
    return verifierOf(createPublicKey(pem), where);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError("the public key is damaged", { ...where, code: codeOf(error) });
  }
}

type Details = Readonly<Record<string, string>>;

function verifierOf(key: KeyObject, where: Details): Verifier {
  const { digest } = curveOf(key, where);
  const keyId = createHash("sha256")
    .update(key.export({ type: "spki", format: "pem" }))
    .digest("hex");
  return {
    keyId,
    holds: ({ payload, signatures }) => signatures.some((signature) => verify(digest, signedBytes(payload), key, signature)),
  };
}

async function readKey(
  key: string,
  variables: Readonly<Record<string, string | undefined>>,
  where: Details,
): Promise<{ readonly pem: string; readonly note: string | null }> {
  if (key.startsWith("env:")) {
    const pem = variables[key.slice("env:".length)];
    if (pem === undefined || pem === "")
      throw new UserError("the environment of the worker that publishes has no such variable: set it to the private key's PEM", where);
    return { pem, note: null };
  }
  const path = fileURLToPath(key);
  try {
    const pem = await readFile(path, "utf8");
    const { mode } = await stat(path);
    const isOpen = (mode & 0o077) !== 0;
    return { pem, note: isOpen ? `others on this machine may read the signing key: chmod 600 ${path}` : null };
  } catch (error) {
    const code = codeOf(error);
    throw new UserError(
      code === "ENOENT"
        ? "the signing key is not there, on the machine of the worker that publishes"
        : "the signing key cannot be read by the worker that publishes",
      { ...where, code },
    );
  }
}

function privateKey(
  pem: string,
  passphrase: string | null,
  variables: Readonly<Record<string, string | undefined>>,
  where: Details,
): KeyObject {
  const kind = /-----BEGIN ([A-Z0-9 ]+)-----(?![\s\S]*-----BEGIN )/.exec(pem)?.[1];
  if (kind === undefined || !pem.trim().includes("\n"))
    throw new UserError(
      `this is not a private key in PEM, whose lines begin with -----BEGIN PRIVATE KEY----- and keep their breaks; ${MAKE_ONE}`,
      where,
    );
  if (!kind.endsWith("PRIVATE KEY"))
    throw new UserError(`a private key is needed; ${MAKE_ONE}`, { ...where, expected: "PRIVATE KEY", got: kind });
  if (/SIGSTORE|COSIGN|OPENSSH/.test(kind))
    throw new UserError(
      `the signing key has a form of its own that only its tool reads: a key as OpenSSL writes it is needed; ${MAKE_ONE}`,
      {
        ...where,
        got: kind,
      },
    );
  const isEncrypted = kind.startsWith("ENCRYPTED") || /^Proc-Type:.*ENCRYPTED/m.test(pem);
  const secret = isEncrypted ? passphraseFor(passphrase, variables, where) : undefined;
  try {
    return createPrivateKey({ key: pem, format: "pem", ...(secret !== undefined && { passphrase: secret }) });
  } catch (error) {
    // OpenSSL's own words say nothing to a user, and could only say more of a secret than they should
    throw new UserError(
      isEncrypted ? "the signing key cannot be decrypted: the passphrase is wrong, or the key is damaged" : "the signing key is damaged",
      { ...where, ...(isEncrypted && { passphrase: passphrase! }), code: codeOf(error) },
    );
  }
}

function passphraseFor(passphrase: string | null, variables: Readonly<Record<string, string | undefined>>, where: Details): string {
  if (passphrase === null)
    throw new UserError("the signing key is encrypted: set publish.sign.passphrase to env:NAME, a variable with its passphrase", where);
  const secret = variables[passphrase.slice("env:".length)];
  if (secret === undefined || secret === "")
    throw new UserError("the environment of the worker that publishes has no such variable: set it to the signing key's passphrase", {
      setting: "publish.sign.passphrase",
      passphrase,
    });
  return secret;
}

function curveOf(key: KeyObject, where: Details): (typeof CURVES)[string] {
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (curve !== undefined) return curve;
  throw new UserError(`keys of this kind are not taken by OpenSSF model signing; ${MAKE_ONE}`, {
    ...where,
    expected: `ECDSA on ${Object.values(CURVES)
      .map(({ name }) => name)
      .join(", ")}`,
    got: key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType,
  });
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? "unknown";
}
