import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { withTarget } from "../../core/config/schema.js";
import { CorruptError, ForbiddenError } from "../../core/errors.js";
import { MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import type { Gate } from "../../core/stages/metrics.js";
import { isSameOverride, overrideWords, type Override } from "../../core/stages/override.js";
import type { Artifact, StageResult } from "../../core/stages/results.js";
import type { Signer } from "../../infra/signing/keys.js";
import { readAll } from "../../infra/store/store.js";
import { directoryDigest, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { assemble, type Assembly } from "./assemble.js";
import { MERGED, ONNX } from "./model-parts.js";
import { openPlace } from "./open-place.js";
import type { PublishingPlace, Sent, SmallFiles, Verdict } from "./place.js";
import { isSignedOtherwise, readPublishedIn, sendSignatures, SIGNATURES, signModel } from "./sign.js";
import { publishDefinition } from "./definition.js";
import type { PublishDependencies } from "./deps.js";

/** Name of the file in the stage's directory with what the place said of each file after it was sent. */
const SEALS = "seals.json";

/** Publishes the tuned model to the place that its target names; it is live there if the gate passed or a person has overridden it. */
export async function publish(
  dependencies: PublishDependencies,
  given: StageRequest,
  context: StageContext,
): Promise<StageResult<"publish">> {
  const request: StageRequest = { ...given, config: withTarget(given.config, dependencies.defaultTarget) };
  const { publish: wanted } = request.config;
  const target = wanted.target!;
  const { abilities, note } = await dependencies.checkTarget(target, wanted, context.signal);
  const place = openPlace(dependencies, wanted, abilities, context);
  const signer = wanted.sign == null ? null : await dependencies.openSigner(wanted.sign);
  const stage = new Stage(publishDefinition, request);
  const { directory } = stage;
  await forgetIfGone(place, stage);
  if (signer !== null && (await isSignedOtherwise(directory, signer))) await stage.forget();
  return await stage.run(context, async () => {
    const started = performance.now();
    const say = (note: string): void => context.progress({ stage: "publish", done: 0, total: 0, unit: "bytes", note, lasting: true });
    const overrideOf = (name: string): Promise<Override | null> => decidedOverride(place.files, name, request.override ?? null, say);
    const assembly = await assemble(dependencies, request, stage, overrideOf, context);
    const { manifest: made, evaluation } = assembly;
    const { gate } = evaluation;
    const override = made.gate?.override;
    const verdict: Verdict = {
      closed: gate.passed || override !== undefined ? null : notPassed(gate),
      // one that the configuration names need not be the latest one
      live: request.config.evaluate.live === null ? (evaluation.live ?? null) : null,
    };
    if (verdict.closed === null) await place.checkLive(made.name, verdict.live);
    for (const each of [note, signer?.note]) if (each != null) say(each);
    const { manifest, claimed, sent } = await adoptAndSend(place, assembly, verdict, { signer, directory, say }, context);
    const names = [...manifest.files.map(({ name }) => name), ...(signer === null ? [] : SIGNATURES), MANIFEST].map(
      (name) => `${manifest.name}/${name}`,
    );
    await writeFileAtomic(join(directory, SEALS), JSON.stringify(await place.seals(names)));
    const reason = sent.live ? null : (verdict.closed ?? "it named this model before, and has moved on");
    // published now, and as large as the model
    for (const made of [ONNX, MERGED]) await rm(join(directory, made), { recursive: true, force: true });
    const metrics = {
      seconds: (performance.now() - started) / 1000,
      target,
      version: manifest.name,
      latest: sent.live,
      reason,
      gate,
      ...(override !== undefined && { override }),
      objects: names.length,
      bytes: sent.bytes,
      bytesSent: claimed + sent.sent,
      ...(abilities.checksums ? {} : { readBack: true as const }),
    };
    return { outputs: outputsOf(sent.uri, manifest), metrics };
  });
}

/** Runs that publish the same model at once, after which something else must be wrong. */
const TRIES = 10;

async function adoptAndSend(
  place: PublishingPlace,
  model: Assembly,
  verdict: Verdict,
  { signer, directory, say }: { readonly signer: Signer | null; readonly directory: string; readonly say: (note: string) => void },
  context: StageContext,
): Promise<{ readonly manifest: Manifest; readonly claimed: number; readonly sent: Sent }> {
  for (let tried = 0; tried < TRIES; tried++) {
    const { manifest, claimed } = await place.adopt(model.manifest, directory, say);
    if (signer !== null) {
      const before = await signModel(readPublishedIn(place.files, manifest.name), manifest, directory, signer);
      if (!(await sendSignatures(place.files, manifest.name, directory, before))) continue;
    }
    const sent = await place.send({ ...model, manifest, beside: signer === null ? [] : SIGNATURES }, verdict, directory, context);
    if (sent !== null) return { manifest, claimed, sent };
  }
  throw new Error(`${model.manifest.name} could not be published, because other runs keep publishing there`);
}

function notPassed({ reason }: Gate): string {
  return `the gate was not passed${reason === undefined ? "" : ` (${reason})`}`;
}

/** The override of a model that it has: one that was published stays. Null: there is none. */
async function decidedOverride(
  files: SmallFiles,
  name: string,
  asked: Override | null,
  say: (note: string) => void,
): Promise<Override | null> {
  // without the right to list, S3 calls a missing object forbidden
  const bytes = await readAll(files, `${name}/${MANIFEST}`).catch((error: unknown) => {
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
async function forgetIfGone(place: PublishingPlace, stage: Stage<"publish">): Promise<void> {
  if ((await stage.finished()) === null) return;
  const before = await readFile(join(stage.directory, SEALS), "utf8").catch(() => "{}");
  const now = await place.seals(Object.keys(JSON.parse(before) as Record<string, string>));
  if (before === "{}" || JSON.stringify(now) !== before) await stage.forget();
}

function outputsOf(uri: string, manifest: Manifest): Artifact[] {
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const objects = manifest.files.map((file): Artifact => ({ ...file, uri: `${uri}/${file.name}` }));
  return [{ name: "published", uri, sha256: directoryDigest(manifest.files), bytes }, ...objects];
}
