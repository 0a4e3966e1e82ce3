import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { withTarget } from "../../core/config/schema.js";
import { MANIFEST, type Manifest } from "../../core/format/manifest.js";
import type { Gate } from "../../core/stages/metrics.js";
import { isSameOverride, overrideWords, type Override } from "../../core/stages/override.js";
import type { Artifact, StageResult } from "../../core/stages/results.js";
import { directoryDigest, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { assemble, type Assembly } from "./assemble.js";
import { MERGED, ONNX } from "./model-parts.js";
import { openPlace } from "./open-place.js";
import type { Going, PublishingPlace, Sent } from "./place.js";
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
  const stage = new Stage(publishDefinition, request);
  const { directory } = stage;
  await forgetIfGone(place, stage);
  return await stage.run(context, async () => {
    const started = performance.now();
    const say = (note: string): void => context.progress({ stage: "publish", done: 0, total: 0, unit: "bytes", note, lasting: true });
    const overrideOf = (name: string): Promise<Override | null> => decidedOverride(place, name, request.override ?? null, say);
    const assembly = await assemble(dependencies, request, stage, overrideOf, context);
    const { evaluation } = assembly;
    const { gate } = evaluation;
    const override = assembly.manifest.gate?.override;
    const opens = gate.passed || override !== undefined;
    // one that the configuration names need not be the latest one
    const going: Going = { opens, compared: request.config.evaluate.live === null ? (evaluation.live ?? null) : null };
    if (opens) await place.checkLive(assembly.manifest.name, going.compared);
    if (note !== undefined) say(note);
    const { manifest, claimed, sent } = await adoptAndSend(place, assembly, going, directory, say, context);
    const names = [...manifest.files.map(({ name }) => name), MANIFEST].map((name) => `${manifest.name}/${name}`);
    await writeFileAtomic(join(directory, SEALS), JSON.stringify(await place.seals(names)));
    const reason = sent.live ? null : opens ? "it was live before, and another model is now" : notPassed(gate);
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
      objects: manifest.files.length + 1,
      bytes: sent.bytes,
      bytesSent: claimed + sent.sent,
      ...(abilities.checksums ? {} : { readBack: true as const }),
    };
    return { outputs: outputsOf(sent.uri, manifest), metrics };
  });
}

function notPassed({ reason }: Gate): string {
  return `the gate was not passed${reason === undefined ? "" : ` (${reason})`}`;
}

/** The override of a model that it has: one that was published stays. Null: there is none. */
async function decidedOverride(
  place: PublishingPlace,
  name: string,
  asked: Override | null,
  say: (note: string) => void,
): Promise<Override | null> {
  const before = (await place.manifestOf(name))?.gate?.override ?? null;
  if (before !== null && asked !== null && !isSameOverride(before, asked))
    say(`the gate of ${name} was ${overrideWords(before)}; that stays`);
  return before ?? asked;
}

/** Runs that publish the same model at once, after which something else must be wrong. */
const TRIES = 10;

async function adoptAndSend(
  place: PublishingPlace,
  model: Assembly,
  going: Going,
  directory: string,
  say: (note: string) => void,
  context: StageContext,
): Promise<{ readonly manifest: Manifest; readonly claimed: number; readonly sent: Sent }> {
  for (let tried = 0; tried < TRIES; tried++) {
    const { manifest, claimed } = await place.adopt(model.manifest, directory, say);
    const sent = await place.send({ ...model, manifest }, going, directory, context);
    if (sent !== null) return { manifest, claimed, sent };
  }
  throw new Error(`${model.manifest.name} could not be published, because other runs keep publishing there`);
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
