import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { publish } from "../../../activities/publish/publish.js";
import { Stage, type StageContext } from "../../../activities/common/stage.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import { publishDefinition } from "../../../activities/publish/definition.js";
import { verify } from "../../../cli/commands/verify.js";
import { checkSignatures } from "../../../cli/commands/verify-signatures.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { parseProvenance } from "../../../core/format/provenance.js";
import { openVerifier } from "../../../infra/signing/keys.js";
import { openPublished } from "../../../infra/sources/published.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { startUploadHub } from "../../infra/hub/upload-hub.js";
import { finishedRun, publishDependencies } from "./run.js";

const root = mkdtempSync(join(tmpdir(), "roslin-sign-"));
after(() => rmSync(root, { recursive: true }));
const environment = readEnvironment({ ROSLIN_HOME: join(root, "home") }, CHECKOUT);
const notes: string[] = [];
const context = (): StageContext => ({ signal: new AbortController().signal, progress: ({ note }) => void notes.push(note ?? "") });

let made = 0;
const newPlace = (): string => join(root, `place-${made++}`);

/** A key: its text, and a file with its public one. */
function newKey(): { readonly pem: string; readonly pub: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pub = `${newPlace()}.pem`;
  writeFileSync(pub, publicKey.export({ type: "spki", format: "pem" }));
  return { pem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(), pub };
}

async function run(target: string, isSigned = true): Promise<StageRequest> {
  const place = newPlace();
  mkdirSync(place);
  const request = await finishedRun(place, pathToFileURL(target).href);
  const sign = isSigned ? { key: "env:KEY" } : null;
  return { ...request, config: parseRunConfig({ ...request.config, publish: { target: pathToFileURL(target).href, sign } }) };
}

const published = async (request: StageRequest, pem: string): Promise<string> =>
  fileURLToPath((await publish(publishDependencies({}, undefined, { variables: { KEY: pem } }), request, context())).outputs[0]!.uri);

const SIGNATURES = ["model.sig", "provenance.intoto.jsonl"];
const signatures = (directory: string): string[] => SIGNATURES.map((name) => readFileSync(join(directory, name), "utf8"));

/** What `roslin verify` prints; its error's message last if it fails. */
async function said(...args: string[]): Promise<string> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => void lines.push(line);
  try {
    await verify.run(args, environment);
  } catch (error) {
    lines.push((error as Error).message);
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}

test("a signed model is the same files and two signatures, which hold for its key by any address", async () => {
  const { pem, pub } = newKey();
  const target = newPlace();
  const directory = await published(await run(target), pem);
  const unsigned = await published(await run(newPlace(), false), pem);
  // card and manifest are the same bytes
  for (const name of ["manifest.json", "README.md"])
    assert.deepEqual(readFileSync(join(directory, name)), readFileSync(join(unsigned, name)));
  assert.deepEqual(readdirSync(directory).sort(), [...readdirSync(unsigned), ...SIGNATURES].sort());
  const downloaded = join(root, "downloaded");
  cpSync(directory, downloaded, { recursive: true });
  mkdirSync(join(downloaded, ".cache/huggingface"), { recursive: true });
  for (const name of [".gitattributes", ".cache/huggingface/a.lock"]) writeFileSync(join(downloaded, name), "");
  for (const address of [directory, pathToFileURL(target).href, downloaded]) {
    const words = await said(address, "--key", pub);
    assert.match(words, /^ok .*model\.sig, signed by the key$/m);
    assert.match(words, /^ok .*provenance\.intoto\.jsonl, signed by the key\nall \d+ links hold$/m);
  }
  assert.match(await said(directory), /^signed .*model\.sig: not checked, because no --key is given$/m);
  assert.match(await said(unsigned, "--key", pub), /^BROKEN .*model\.sig.*published without publish\.sign/m);
  assert.doesNotMatch(`${notes.join()}${JSON.stringify(readFileSync(join(directory, "manifest.json"), "utf8"))}`, /PRIVATE/);
});

test("another key, a changed byte of any file, a file beside them and a lost one are named", async () => {
  const { pem, pub } = newKey();
  const directory = await published(await run(newPlace()), pem);
  assert.match(
    await said(directory, "--key", newKey().pub),
    /^BROKEN .*model\.sig.*signed with another key: the SHA-256 of the public key is [0-9a-f]{64}/m,
  );
  for (const name of ["config.json", "onnx/model.onnx", "README.md", "manifest.json", ...SIGNATURES]) {
    const path = join(directory, name);
    const before = readFileSync(path);
    const bytes = Buffer.from(before);
    // within a text of each: formats stay what they are where that is possible
    const at = name === "manifest.json" ? bytes.indexOf("fingerprint") + 20 : bytes.length >> 1;
    bytes[at] = bytes[at]! ^ 1;
    writeFileSync(path, bytes);
    assert.match(await said(directory, "--key", pub), /are broken|damaged/, name);
    writeFileSync(path, before);
  }
  writeFileSync(join(directory, "pytorch_model.bin"), "");
  assert.match(await said(directory, "--key", pub), /^BROKEN .*files that are not signed lie there: pytorch_model\.bin$/m);
  rmSync(join(directory, "pytorch_model.bin"));
  rmSync(join(directory, "provenance.intoto.jsonl"));
  assert.match(await said(directory, "--key", pub), /^BROKEN .*model\.sig.*the signature names what is gone: provenance\.intoto\.jsonl$/m);
});

test("signatures that hold stay: when the stage runs again, after a kill before they were sent, and of another run", async () => {
  const { pem } = newKey();
  const target = newPlace();
  const request = await run(target);
  const directory = await published(request, pem);
  const first = signatures(directory);
  const stage = new Stage(publishDefinition, request);
  await stage.forget();
  rmSync(join(directory, "model.sig"));
  await published(request, pem);
  assert.deepEqual(signatures(directory), first);
  await published(await run(target), pem);
  assert.deepEqual(signatures(directory), first);
  // a lost one is noticed by a run that had finished
  rmSync(join(directory, "model.sig"));
  await published(request, pem);
  assert.deepEqual(signatures(directory), first);
});

test("runs that publish the same model at once end with one pair of signatures", async () => {
  const { pem, pub } = newKey();
  const target = newPlace();
  const requests = await Promise.all([run(target), run(target), run(target)]);
  const [directory] = await Promise.all(requests.map((request) => published(request, pem)));
  assert.match(await said(directory!, "--key", pub), /all \d+ links hold/);
  for (const request of requests) {
    const { directory: own } = new Stage(publishDefinition, request);
    assert.deepEqual(signatures(own), signatures(directory!));
  }
});

test("a key that is exchanged signs again, and a signature of something else is replaced", async () => {
  const [first, second] = [newKey(), newKey()];
  const request = await run(newPlace());
  const directory = await published(request, first.pem);
  copyFileSync(join(directory, "provenance.intoto.jsonl"), join(directory, "model.sig"));
  await published(request, first.pem);
  assert.match(await said(directory, "--key", first.pub), /all \d+ links hold/);
  await published(request, second.pem);
  assert.match(await said(directory, "--key", second.pub), /all \d+ links hold/);
});

test("a key that cannot sign stops the stage before it begins", async () => {
  const request = await run(newPlace());
  await assert.rejects(published(request, "garbage"), /not a private key in PEM/);
  assert.equal(await new Stage(publishDefinition, request).finished(), null);
  assert.throws(
    () => parseRunConfig({ publish: { sign: { key: newKey().pem } } }),
    (error: Error) => /publish\.sign\.key: must be env:NAME or file:\/\/\/path/.test(error.message) && !error.message.includes("PRIVATE"),
  );
  assert.throws(
    () => parseRunConfig({ publish: { sign: { key: "env:A", pasphrase: "env:B" } } }),
    /did you mean publish\.sign\.passphrase\?/,
  );
});

test("the provenance is a SLSA statement about the published files, without a path of this machine", async () => {
  const directory = await published(await run(newPlace()), newKey().pem);
  const text = readFileSync(join(directory, "provenance.intoto.jsonl"), "utf8");
  const { payload } = parseProvenance(text, "x");
  assert.doesNotMatch(payload, /file:\/\/|\/tmp|PRIVATE/);
  const { predicate, ...statement } = JSON.parse(payload) as {
    subject: { name: string; digest: { sha256: string } }[];
    predicate: {
      buildDefinition: {
        externalParameters: Record<string, unknown>;
        resolvedDependencies: { name: string; uri: string; digest: { sha256: string } }[];
      };
      runDetails: { byproducts: { name: string }[] };
    };
  };
  const { files } = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8")) as { files: { name: string }[] };
  assert.deepEqual(
    statement.subject.map(({ name }) => name),
    [...files.map(({ name }) => name), "manifest.json"],
  );
  assert.deepEqual(Object.keys(predicate.buildDefinition.externalParameters), ["download", "preprocess", "train", "evaluate", "publish"]);
  const [model, dataset] = predicate.buildDefinition.resolvedDependencies;
  assert.match(model!.uri, /^file:sha256-[0-9a-f]{64}$/);
  assert.equal(dataset!.uri, "hf://tatsu-lab/alpaca@main");
  assert.deepEqual(
    predicate.runDetails.byproducts.map(({ name }) => name),
    ["tokens", "tuned", "training state", "report"],
  );
});

test("on the hub the signatures are in the model's own commit, and a later run of it keeps them", async () => {
  const { pem, pub } = newKey();
  const hub = await startUploadHub();
  try {
    const signed = async (): Promise<string> => {
      const request = await run(newPlace());
      const publishing = { ...request.config.publish, target: "hf://me/signed" };
      const dependencies = publishDependencies({}, undefined, { hub: hub.access, variables: { KEY: pem } });
      const again = { ...request, config: { ...request.config, publish: publishing } };
      return (await publish(dependencies, again, context())).outputs[0]!.uri;
    };
    const first = await signed();
    const repository = hub.repository("me/signed");
    const names = [...repository.at("main")!.files.keys()];
    assert.deepEqual(
      SIGNATURES.filter((name) => !names.includes(name)),
      [],
    );
    assert.deepEqual([await signed(), repository.commits.size], [first, 2]);
    const { signal } = new AbortController();
    const published = await openPublished("hf://me/signed", { hub: hub.access }, signal);
    const { links } = await checkSignatures(published, await openVerifier(pub), signal);
    assert.deepEqual(
      links.map(({ problem }) => problem),
      [null, null],
    );
  } finally {
    await hub.close();
  }
});
