import assert from "node:assert/strict";
import { test } from "node:test";
import { CorruptError } from "../../../core/errors.js";
import { envelopeOf, signedBytes } from "../../../core/format/dsse.js";
import { bundleText, filesStatement, parseBundle, readFilesStatement } from "../../../core/format/model-signature.js";
import { sha256 } from "../../../infra/disk/files.js";

const FILES = ["onnx/m", "onnx.json", "a", ".hidden", ".eval_results/e.yaml", "é/😀", "é/\uff5e"].map((name) => ({
  name,
  sha256: sha256(name),
}));

interface Statement {
  readonly subject: readonly { readonly digest: { readonly sha256: string } }[];
  readonly predicate: { readonly resources: readonly { readonly name: string }[] };
}

test("the same files in any order give the same statement, in the order of Python's paths", () => {
  const text = filesStatement("model", FILES, sha256);
  assert.equal(filesStatement("model", FILES.toReversed(), sha256), text);
  const { predicate } = JSON.parse(text) as Statement;
  // sorted(PurePosixPath(name) for name in names): part by part, by code point
  assert.deepEqual(
    predicate.resources.map(({ name }) => name),
    [".eval_results/e.yaml", ".hidden", "a", "onnx/m", "onnx.json", "é/\uff5e", "é/😀"],
  );
});

test("the digest of the list is that of model_signing 1.1.1 over the same files", () => {
  const files = [".eval_results/e.yaml:e", ".hidden:h", "a:a", "onnx/m:o"].map((each) => {
    const [name, text] = each.split(":");
    return { name: name!, sha256: sha256(`${text}\n`) };
  });
  const { subject } = JSON.parse(filesStatement("d", files, sha256)) as Statement;
  assert.equal(subject[0]!.digest.sha256, "65651f8e7c01606e0b9031f25640b026dd0083809490d56f19e6453527bcffb1");
});

test("what is signed is DSSE's encoding, with a length in bytes", () => {
  assert.equal(Buffer.from(signedBytes("é")).toString(), "DSSEv1 28 application/vnd.in-toto+json 2 é");
});

test("a bundle is read as it was written; one of another kind is refused with the field", () => {
  const payload = filesStatement("model", FILES, sha256);
  const envelope = { payload, signatures: [Uint8Array.of(0, 1, 255)], keyId: "ab" };
  const text = bundleText(envelope);
  assert.deepEqual(parseBundle(text, "x"), envelope);
  assert.deepEqual(
    readFilesStatement(payload, "x", sha256).files.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    FILES.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  );
  const refused = (changed: string, words: RegExp): void =>
    assert.throws(
      () => readFilesStatement(parseBundle(changed, "x/model.sig").payload, "x/model.sig", sha256),
      (error) => {
        assert.ok(error instanceof CorruptError);
        assert.match(error.message, words);
        return true;
      },
    );
  const signed = (statement: string): string =>
    JSON.stringify({ ...(JSON.parse(text) as object), dsseEnvelope: envelopeOf({ ...envelope, payload: statement }) });
  refused("{", /not JSON \[file=x\/model\.sig\]/);
  refused(text.replace('"sig":"AAH/"', '"sig":"AAE="').replace('"AAE="', '"AAF="'), /Base64/);
  refused(text.replace("v0.3+json", "v0.1+json"), /field=mediaType/);
  refused(text.replace("publicKey", "certificate"), /field=verificationMaterial\.publicKey/);
  refused(signed(payload.replace('"sha256","allow', '"blake3","allow')), /field=predicate\.serialization\.hash_type/);
  refused(signed(payload.replace(sha256("a"), sha256("b"))), /digest is not that of the files that it lists/);
});
