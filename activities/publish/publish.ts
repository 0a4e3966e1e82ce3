import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { withTarget } from "../../core/config/schema.js";
import { MANIFEST, type Manifest } from "../../core/format/manifest.js";
import type { Artifact, StageResult } from "../../core/stages/results.js";
import { directoryDigest, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { assemble, type Assembly } from "./assemble.js";
import { MERGED, ONNX } from "./model-parts.js";
import { openPlace } from "./open-place.js";
import type { PublishingPlace, Sent } from "./place.js";
import { publishDefinition } from "./definition.js";
import type { PublishDependencies } from "./deps.js";

/** Name of the file in the stage's directory with what the place said of each file after it was sent. */
const SEALS = "seals.json";

/** Publishes the tuned model to the place that its target names; it is live there if the gate passed. */
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
    const assembly = await assemble(dependencies, request, stage, context);
    const { gate } = assembly.evaluation;
    if (gate.passed) await place.checkLive();
    const say = (note: string): void => context.progress({ stage: "publish", done: 0, total: 0, unit: "bytes", note, lasting: true });
    if (note !== undefined) say(note);
    const { manifest, claimed, sent } = await adoptAndSend(place, assembly, directory, say, context);
    const names = [...manifest.files.map(({ name }) => name), MANIFEST].map((name) => `${manifest.name}/${name}`);
    await writeFileAtomic(join(directory, SEALS), JSON.stringify(await place.seals(names)));
    // published now, and as large as the model
    for (const made of [ONNX, MERGED]) await rm(join(directory, made), { recursive: true, force: true });
    const metrics = {
      seconds: (performance.now() - started) / 1000,
      target,
      version: manifest.name,
      latest: sent.live,
      gate,
      objects: manifest.files.length + 1,
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
  { evaluation, ...model }: Assembly,
  directory: string,
  say: (note: string) => void,
  context: StageContext,
): Promise<{ readonly manifest: Manifest; readonly claimed: number; readonly sent: Sent }> {
  for (let tried = 0; tried < TRIES; tried++) {
    const { manifest, claimed } = await place.adopt(model.manifest, directory, say);
    const sent = await place.send({ ...model, manifest }, evaluation.gate.passed, directory, context);
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
