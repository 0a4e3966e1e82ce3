import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { withTarget } from "../../core/config/schema.js";
import { CorruptError, ForbiddenError } from "../../core/errors.js";
import { MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import type { Gate } from "../../core/stages/metrics.js";
import { isSameOverride, overrideWords, type Override } from "../../core/stages/override.js";
import type { Artifact, StageResult } from "../../core/stages/results.js";
import type { Signer } from "../../infra/signing/keys.js";
import { readAll, type ObjectStore } from "../../infra/store/store.js";
import { directoryDigest, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { adopt } from "./adopt.js";
import { assemble } from "./assemble.js";
import { MERGED, ONNX } from "./model-parts.js";
import { checkLiveStill, moveLatest, readLatest } from "./move-latest.js";
import { isSignedOtherwise, readPublishedIn, sendSignatures, SIGNATURES, signModel } from "./sign.js";
import { upload } from "./upload.js";
import { publishDefinition } from "./definition.js";
import type { PublishDependencies } from "./deps.js";

/** Name of the file in the stage's directory with what the store said of each object after it was sent. */
const SEALS = "seals.json";

/** Publishes the tuned model as `<target>/<name>/…`, its manifest last; `<target>/latest.json` then names it, if the gate passed or a person has overridden it. */
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
    const sayAt =
      (done: number) =>
      (note: string): void =>
        context.progress({ stage: "publish", done, total: done, unit: "bytes", note, lasting: true });
    const overrideOf = (name: string): Promise<Override | null> => decidedOverride(store, name, request.override ?? null, sayAt(0));
    const assembly = await assemble(dependencies, request, stage, overrideOf, context);
    const { manifest: made, evaluation } = assembly;
    const override = made.gate?.override;
    const open = evaluation.gate.passed || override !== undefined;
    // one that the configuration names need not be the latest one
    const live = request.config.evaluate.live === null ? (evaluation.live ?? null) : null;
    // a pointer that cannot be moved, or that has moved, is reported before hours of uploading
    if (open) checkLiveStill(await readLatest(store), made.name, live);
    for (const each of [note, signer?.note]) if (each != null) sayAt(0)(each);
    const { manifest, claimed } = await adopt(store, made, directory, sayAt(0));
    const signatures = signer === null ? [] : SIGNATURES;
    if (signer !== null) await signAndSend(store, manifest, directory, signer);
    const { sent, bytes } = await upload(store, { ...assembly, manifest }, directory, context);
    const names = [...manifest.files.map(({ name }) => name), ...signatures, MANIFEST].map((name) => `${manifest.name}/${name}`);
    await writeFileAtomic(join(directory, SEALS), JSON.stringify(await sealsOf(store, names)));
    const say = sayAt(bytes);
    const latest = open && (await moveLatest(store, target, manifest.name, { wanted, live }, say));
    if (!open) say(`${notPassed(evaluation.gate)}: latest.json stays`);
    const reason = latest ? null : open ? "it named this model before, and has moved on" : notPassed(evaluation.gate);
    // published now, and as large as the model
    for (const made of [ONNX, MERGED]) await rm(join(directory, made), { recursive: true, force: true });
    const metrics = {
      seconds: (performance.now() - started) / 1000,
      target,
      version: manifest.name,
      latest,
      reason,
      gate: evaluation.gate,
      ...(override !== undefined && { override }),
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

function notPassed({ reason }: Gate): string {
  return `the gate was not passed${reason === undefined ? "" : ` (${reason})`}`;
}

/** The override of a model that it has: one that was published stays. Null: there is none. */
async function decidedOverride(
  store: ObjectStore,
  name: string,
  asked: Override | null,
  say: (note: string) => void,
): Promise<Override | null> {
  // without the right to list, S3 calls a missing object forbidden
  const bytes = await readAll(store, `${name}/${MANIFEST}`).catch((error: unknown) => {
    if (!(error instanceof ForbiddenError)) throw error;
    return null;
  });
  const before = bytes === null ? null : overrideIn(bytes, name);
  if (before !== null && asked !== null && !isSameOverride(before, asked))
    say(`the gate of ${name} was ${overrideWords(before)}; that stays`);
  return before ?? asked;
}

/** The override in a published manifest; null: there is none, or it is damaged, so nothing in it counts. */
function overrideIn(bytes: Uint8Array, where: string): Override | null {
  try {
    return parseManifest(Buffer.from(bytes).toString(), where).gate?.override ?? null;
  } catch (error) {
    if (error instanceof CorruptError) return null;
    throw error;
  }
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
