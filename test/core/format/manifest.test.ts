import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CorruptError } from "../../../core/errors.js";
import { checkChain, parseManifest, type Manifest } from "../../../core/format/manifest.js";
import { directoryDigest, sha256 as digestOf } from "../../../infra/disk/files.js";

const sha256 = "0".repeat(64);
const manifest = (name: string, file: string): string =>
  JSON.stringify({
    format: "roslin-manifest",
    version: 1,
    name,
    files: [{ name: file, sha256, bytes: 1 }],
    chain: [],
    tuned: [],
    amended: [],
    fingerprint: null,
  } satisfies Manifest);

test("a manifest is read back", () => {
  assert.equal(parseManifest(manifest("gpt-j-6b-0123456789ab", "onnx/model.onnx"), "m").files[0]!.name, "onnx/model.onnx");
});

for (const file of ["../x", "a/../x", "/etc/passwd", "a//b", "./a", "", "a\\b", "a\0b"])
  test(`a file named ${JSON.stringify(file)} is refused`, () => {
    assert.throws(() => parseManifest(manifest("m", file), "m"), CorruptError);
  });

for (const name of ["..", ".", "", "a/b", "../../home", ".hidden"])
  test(`a model named ${JSON.stringify(name)} is refused: it becomes a directory's name`, () => {
    assert.throws(() => parseManifest(manifest(name, "a"), "m"), CorruptError);
  });

test("the chain of a manifest that an earlier version published, which calls the tuned model by its base's name, still holds", () => {
  const recorded = readFileSync(new URL("../../../../test/core/format/manifest-6.json", import.meta.url), "utf8");
  const { chain, ...rest } = parseManifest(recorded, "m");
  assert.deepEqual(
    chain.map(({ outputs }) => outputs.map(({ name }) => name)),
    [["model", "dataset"], ["tokens"], ["model"], ["report"]],
  );
  const broken = (checked: Manifest): string[] =>
    checkChain(checked, { sha256: digestOf, directoryDigest }).flatMap(({ link, problem }) => (problem === null ? [] : [link]));
  assert.deepEqual(broken({ ...rest, chain }), []);
  const other = chain.map((entry) => (entry.stage === "train" ? { ...entry, outputs: [{ name: "model", sha256, bytes: 1 }] } : entry));
  assert.deepEqual(broken({ ...rest, chain: other }), ["evaluate's input tuned", "the trained model", "the model's name"]);
});

test("what is no manifest is said to be damaged, with where it lies", () => {
  for (const text of ["", "{}", "null", '{"format":"other"}'])
    assert.throws(() => parseManifest(text, "s3://b/manifest.json"), /CorruptError: .*damaged.*s3:\/\/b\/manifest\.json/);
});
