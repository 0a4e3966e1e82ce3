import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { UserError } from "../../../core/errors.js";
import { openSigner, openVerifier } from "../../../infra/signing/keys.js";

const root = mkdtempSync(join(tmpdir(), "roslin-keys-"));
after(() => rmSync(root, { recursive: true }));

const pair = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const pem = (namedCurve = "P-256"): string => pair(namedCurve).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const encrypted = (type: "pkcs8" | "sec1"): string =>
  pair("P-256").privateKey.export({ type, format: "pem", cipher: "aes-256-cbc", passphrase: "secret words" }).toString();

function put(name: string, text: string): string {
  const path = join(root, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

/** The message of a refusal, which repeats nothing of the key. */
async function refusal(
  text: string | undefined,
  passphrase: string | null = null,
  variables: Readonly<Record<string, string>> = {},
): Promise<string> {
  let message = "";
  await assert.rejects(openSigner({ key: "env:KEY", passphrase }, { ...variables, ...(text !== undefined && { KEY: text }) }), (error) => {
    assert.ok(error instanceof UserError);
    message = error.message;
    const said = `${message} ${error.stack} ${String(error.cause)}`;
    for (const line of (text ?? "").split("\n")) if (line.length > 8 && !line.startsWith("-----")) assert.ok(!said.includes(line), said);
    assert.ok(!said.includes("secret words") && !said.includes("wrong words"));
    return true;
  });
  return message;
}

for (const curve of ["P-256", "P-384", "P-521"])
  test(`a key on ${curve} signs, and its public key alone checks what it signed`, async () => {
    const { privateKey, publicKey } = pair(curve);
    const signer = await openSigner(
      { key: "env:KEY", passphrase: null },
      { KEY: privateKey.export({ type: "sec1", format: "pem" }).toString() },
    );
    const verifier = await openVerifier(put(`${curve}.pem`, publicKey.export({ type: "spki", format: "pem" }).toString()));
    assert.equal(verifier.keyId, signer.keyId);
    const envelope = signer.sign("statement é");
    assert.ok(verifier.holds(envelope));
    assert.ok(!verifier.holds({ ...envelope, payload: "statement e" }));
    assert.ok(!verifier.holds({ ...envelope, signatures: [Uint8Array.of(1, 2)] }));
    assert.ok(!verifier.holds((await openSigner({ key: "env:KEY", passphrase: null }, { KEY: pem(curve) })).sign("statement é")));
  });

test("a key in a file signs; a note says that others may read it", async () => {
  const path = put("key.pem", `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${pem()}`);
  const open = async () => (await openSigner({ key: pathToFileURL(path).href, passphrase: null }, {})).note;
  assert.equal(await open(), null);
  chmodSync(path, 0o640);
  assert.equal(await open(), `others on this machine may read the signing key: chmod 600 ${path}`);
  await assert.rejects(openSigner({ key: pathToFileURL(join(root, "none.pem")).href, passphrase: null }, {}), /not there.*code=ENOENT/);
  await assert.rejects(openSigner({ key: pathToFileURL(root).href, passphrase: null }, {}), /cannot be read.*code=EISDIR/);
});

for (const type of ["pkcs8", "sec1"] as const)
  test(`an encrypted key (${type}) needs its passphrase`, async () => {
    const text = encrypted(type);
    await openSigner({ key: "env:KEY", passphrase: "env:WORDS" }, { KEY: text, WORDS: "secret words" });
    assert.match(await refusal(text), /is encrypted: set publish\.sign\.passphrase/);
    assert.match(await refusal(text, "env:WORDS"), /no such variable.*passphrase=env:WORDS/);
    assert.match(await refusal(text, "env:WORDS", { WORDS: "wrong words" }), /passphrase is wrong, or the key is damaged/);
  });

test("what is no usable private key is refused by what it is", async () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs1", format: "pem" }).toString();
  const ed = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  assert.match(await refusal(undefined), /no such variable.*key=env:KEY/);
  assert.match(await refusal("garbage"), /not a private key in PEM/);
  assert.match(await refusal(pem().replaceAll("\n", "\\n")), /keep their breaks/);
  assert.match(await refusal(pair("P-256").publicKey.export({ type: "spki", format: "pem" }).toString()), /got=PUBLIC KEY/);
  assert.match(await refusal(rsa), /expected=ECDSA on P-256, P-384, P-521, got=rsa/);
  assert.match(await refusal(ed), /got=ed25519/);
  assert.match(await refusal(pem("secp256k1")), /got=secp256k1/);
  assert.match(await refusal(pem().replace("PRIVATE KEY", "OPENSSH PRIVATE KEY")), /form of its own/);
  const lines = pem().split("\n");
  assert.match(await refusal([lines[0], lines[1]!.slice(8), ...lines.slice(2)].join("\n")), /the signing key is damaged/);
});

test("what is no usable public key is refused by what it is", async () => {
  const refused = (name: string, text: string, words: RegExp) => assert.rejects(openVerifier(put(name, text)), words);
  await refused("private.pem", pem(), /this is a private key: give the public one/);
  await refused("garbage.pem", "garbage", /not a public key in PEM/);
  await refused("damaged.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", /the public key is damaged/);
  await refused("ed.pem", generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString(), /got=ed25519/);
  await assert.rejects(openVerifier(join(root, "none.pem")), /cannot be read.*none\.pem/);
});
