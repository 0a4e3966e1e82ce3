import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { withTarget } from "../../core/config/schema.js";
import { MANIFEST, type Manifest } from "../../core/format/manifest.js";
import type { Artifact, StageResult } from "../../core/stages/results.js";
import type { Signer } from "../../infra/signing/keys.js";
import type { ObjectStore } from "../../infra/store/store.js";
import { directoryDigest, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { adopt } from "./adopt.js";
import { assemble } from "./assemble.js";
import { MERGED, ONNX } from "./model-parts.js";
import { moveLatest, readLatest } from "./move-latest.js";
import { isSignedOtherwise, readPublishedIn, sendSignatures, SIGNATURES, signModel } from "./sign.js";
import { upload } from "./upload.js";
import { publishDefinition } from "./definition.js";
import type { PublishDependencies } from "./deps.js";

/** Name of the file in the stage's directory with what the store said of each object after it was sent. */
const SEALS = "seals.json";

/** Publishes the tuned model as `<target>/<name>/…`, its manifest last; `<target>/latest.json` then names it, if the gate passed. */
export async function publish(
  dependencies: PublishDependencies,
  given: StageRequest,
  context: StageContext,
): Promise<StageResult<"publish">> {
  const request: StageRequest = { ...given, config: withTarget(given.config, dependencies.defaultTarget) };
  const { publish: wanted } = request.config;
  const target = wanted.target!;
  const { abilities, note } = await dependencies.checkTarget(target, wanted, context.signal);
  const store = dependencies.openStore(target, wanted, context.signal, abilities);
  const signer = wanted.sign == null ? null : await dependencies.openSigner(wanted.sign);
  const stage = new Stage(publishDefinition, request);
  const { directory } = stage;
  await forgetIfGone(store, stage);
  if (signer !== null && (await isSignedOtherwise(directory, signer))) await stage.forget();
  return await stage.run(context, async () => {
    const started = performance.now();
    const assembly = await assemble(dependencies, request, stage, context);
    const { manifest: made, evaluation } = assembly;
    // a pointer that cannot be moved is reported before hours of uploading
    if (evaluation.gate.passed) await readLatest(store);
    const sayAt =
      (done: number) =>
      (note: string): void =>
        context.progress({ stage: "publish", done, total: done, unit: "bytes", note, lasting: true });
    for (const each of [note, signer?.note]) if (each != null) sayAt(0)(each);
    const { manifest, claimed } = await adopt(store, made, directory, sayAt(0));
    const signatures = signer === null ? [] : SIGNATURES;
    if (signer !== null) await signAndSend(store, manifest, directory, signer);
    const { sent, bytes } = await upload(store, { ...assembly, manifest }, directory, context);
    const names = [...manifest.files.map(({ name }) => name), ...signatures, MANIFEST].map((name) => `${manifest.name}/${name}`);
    await writeFileAtomic(join(directory, SEALS), JSON.stringify(await sealsOf(store, names)));
    const say = sayAt(bytes);
    const latest = evaluation.gate.passed && (await moveLatest(store, target, manifest.name, wanted, say));
    if (!evaluation.gate.passed) say("the gate was not passed: latest.json stays");
    // published now, and as large as the model
    for (const made of [ONNX, MERGED]) await rm(join(directory, made), { recursive: true, force: true });
    const metrics = {
      seconds: (performance.now() - started) / 1000,
      target,
      version: manifest.name,
      latest,
      gate: evaluation.gate,
      objects: names.length,
      bytes,
      bytesSent: claimed + sent,
      ...(abilities.checksums ? {} : { readBack: true as const }),
    };
    return { outputs: outputsOf(target, manifest), metrics };
  });
}

/** Tries that may lose against other runs that publish the same model; after more of them something else must be wrong. */
const TRIES = 10;

async function signAndSend(store: ObjectStore, manifest: Manifest, directory: string, signer: Signer): Promise<void> {
  for (let tried = 0; tried < TRIES; tried++) {
    const before = await signModel(readPublishedIn(store, manifest.name), manifest, directory, signer);
    if (await sendSignatures(store, manifest.name, directory, before)) return;
  }
  throw new Error(`${manifest.name} could not be signed, because other runs keep signing it`);
}

/** Lets a published model be published again if something of it was removed or changed. */
async function forgetIfGone(store: ObjectStore, stage: Stage<"publish">): Promise<void> {
  if ((await stage.finished()) === null) return;
  const before = await readFile(join(stage.directory, SEALS), "utf8").catch(() => "{}");
  const now = await sealsOf(store, Object.keys(JSON.parse(before) as Record<string, string>));
  if (before === "{}" || JSON.stringify(now) !== before) await stage.forget();
}

async function sealsOf(store: ObjectStore, keys: readonly string[]): Promise<Record<string, string | null>> {
  return Object.fromEntries(await Promise.all(keys.map(async (key) => [key, await store.seal(key)] as const)));
}

function outputsOf(target: string, manifest: Manifest): Artifact[] {
  const uri = `${target}/${manifest.name}`;
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const objects = manifest.files.map((file): Artifact => ({ ...file, uri: `${uri}/${file.name}` }));
  return [{ name: "published", uri, sha256: directoryDigest(manifest.files), bytes }, ...objects];
}
