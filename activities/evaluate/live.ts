import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { choiceMetrics } from "../../core/benchmark/chosen.js";
import type { RunConfig } from "../../core/config/schema.js";
import { CorruptError, messageOf, UserError } from "../../core/errors.js";
import { isModelFile, type Manifest } from "../../core/format/manifest.js";
import { ADAPTER_CONFIG } from "../../core/model/lora/adapter-config.js";
import { comparesWithLive } from "../../core/stages/gate.js";
import { currentOutputs, outputNamed } from "../../core/stages/results.js";
import type { Decoder } from "../../core/text/tokenizer.js";
import type { fetchPublished, Published } from "../../infra/sources/published.js";
import { readableTokenizer } from "../../infra/text/read-tokenizer.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import type { FetchEvents } from "../../infra/transfer/fetch.js";
import type { StageRequest } from "../common/stage.js";
import { downloadedModel } from "../download/adapter-base.js";
import { bringWithBase } from "../download/bring-with-base.js";
import type { Places } from "../download/source-plan.js";
import type { LiveReference } from "./evaluation.js";

/** The model that `latest.json` names, which rules of the gate may compare with. */

/** Where published models are looked for. */
export interface LiveModels {
  /** the target of a run that names none */
  defaultTarget(): string;
  /** The published model at an address, or the one that the target there names as its latest; null: there is neither. infra's `findPublished`. */
  find(uri: string, signal: AbortSignal): Promise<Published | null>;
  readonly fetch: typeof fetchPublished;
}

const WITHOUT = "publish once without the rules of evaluate.gate.rules against live";

/** What `work` finds of a live model. Throws UserError that says what to do if the model cannot be used. */
async function usable<T>(target: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CorruptError) && !(error instanceof UserError)) throw error;
    throw new UserError(
      `a rule of the gate compares with the live model, and the one at the target cannot be used: ${messageOf(error)}. Correct it, or remove latest.json and ${WITHOUT}`,
      { target },
      { cause: error },
    );
  }
}

/** The model that a target's `latest.json` names. Throws UserError that says what to do if there is none, or it cannot be used. */
export async function findLive(find: LiveModels["find"], target: string, signal: AbortSignal): Promise<Published> {
  const found = await usable(target, () => find(target, signal));
  if (found !== null) return found;
  throw new UserError(`a rule of the gate compares with the live model, and no latest.json names one at the target: ${WITHOUT}`, {
    target,
  });
}

/**
 * The live model that a request is compared with: the config's, or the one that `latest.json` names now. If that is this very
 * model, which was published before, then the one that it was compared with then, so that a run that is repeated changes nothing.
 * Null: no rule compares with one. Throws UserError.
 */
export async function chooseLive(
  models: LiveModels,
  { config, inputs }: Pick<StageRequest, "config" | "inputs">,
  signal: AbortSignal,
): Promise<LiveReference | null> {
  if (!comparesWithLive(config.evaluate)) return null;
  if (config.evaluate.live !== null) return config.evaluate.live;
  const { manifest, uri, sha256 } = await findLive(models.find, targetOf(models, config), signal);
  return (
    comparedThen(manifest, outputNamed(inputs, "tuned").sha256) ?? { uri: uri.startsWith("file:") ? manifest.name : uri, manifest: sha256 }
  );
}

function targetOf(models: LiveModels, { publish }: RunConfig): string {
  return publish.target ?? models.defaultTarget();
}

/** What a published model was compared with, if it is the tuned model with this digest; null: it is another, or was compared with none. */
function comparedThen({ chain }: Manifest, tuned: string): LiveReference | null {
  const trained = chain.find(({ stage }) => stage === "train");
  if (
    trained === undefined ||
    !currentOutputs("train", trained.outputs).some((output) => output.name === "tuned" && output.sha256 === tuned)
  )
    return null;
  const settings = chain.find(({ stage }) => stage === "evaluate")?.settings as
    | { readonly live?: Partial<LiveReference> | null }
    | undefined;
  const { uri, manifest } = settings?.live ?? {};
  return typeof uri === "string" && typeof manifest === "string" ? { uri, manifest } : null;
}

/** The live model that a reference means, where a run publishes to `target`. Throws UserError if it is gone, or another one lies there now. */
export async function openLive(
  find: LiveModels["find"],
  target: string,
  { uri, manifest }: LiveReference,
  signal: AbortSignal,
): Promise<Published> {
  // of a model on this machine the reference is just its name below the target
  const place = uri.includes("://") ? uri : `${target}/${uri}`;
  const found = await usable(place, () => find(place, signal));
  if (found?.sha256 === manifest) return found;
  if (found === null)
    throw new UserError(
      "the model that this run is compared with as the live one is gone: bring it back, name another one in evaluate.live, or leave out the rules of evaluate.gate.rules against live",
      { uri: place, manifest },
    );
  throw new UserError(`the live model is not the one that it was: leave evaluate.live out, or ${WITHOUT}`, {
    uri: place,
    expected: manifest,
    got: found.sha256,
  });
}

/** Whether a published file is small, and says what the ids of a model mean. */
function isCompanion(name: string): boolean {
  return isModelFile(name) && !name.includes(".safetensors");
}

/** What the run's rows are made for. */
export interface LiveRows {
  /** of the base; null: it has none, and its rows came as tokens */
  readonly tokenizer: Decoder | null;
  /** of the base */
  readonly shape: { readonly vocabulary: number; readonly positions: number };
}

/** Throws UserError if a run's rows are not the same to the live model as to the run's base in a directory; only its small files are fetched. */
export async function checkLive(
  models: LiveModels,
  config: RunConfig,
  live: LiveReference,
  { base, directory }: { readonly base: string; readonly directory: string },
  signal: AbortSignal,
): Promise<void> {
  const published = await openLive(models.find, targetOf(models, config), live, signal);
  const rows = { tokenizer: readableTokenizer(base), shape: readModelConfig(base).shape };
  await compareLive(models.fetch, published, { config, rows, directory }, signal);
}

/**
 * Throws UserError if token ids mean something else to a live model than to a run's base, or the run's rows are too long for it. Its
 * small files come into the directory.
 */
export async function compareLive(
  fetch: LiveModels["fetch"],
  published: Published,
  { config, rows, directory }: { readonly config: RunConfig; readonly rows: LiveRows; readonly directory: string },
  signal: AbortSignal,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  await usable(published.uri, () => fetch(published, directory, isCompanion, signal));
  const refuse = (what: string): never => {
    throw new UserError(
      `the live model has ${what} than this run's, so that the same rows would mean something else to it: ${WITHOUT}, or publish to another target`,
      { live: published.uri },
    );
  };
  const { vocabulary } = rows.shape;
  const [ours, theirs] = [rows.tokenizer, readableTokenizer(directory)];
  if (isAdapter(published)) {
    // its config is its base's, and so is a tokenizer that it lacks
    if (theirs === null) return;
  } else {
    const { shape } = readModelConfig(directory);
    if (shape.vocabulary < vocabulary) refuse("fewer words");
    const expected = longestRow(config, rows.shape.positions);
    if (shape.positions < expected)
      throw new UserError(
        `the live model has fewer positions than this run's rows may have tokens: lower preprocess.maxLength, ${WITHOUT}, or publish to another target`,
        { live: published.uri, expected, got: shape.positions },
      );
  }
  if ((ours === null) !== (theirs === null)) refuse("another tokenizer");
  if (ours === null || theirs === null) return;
  for (let id = 0; id < vocabulary; id++) if (ours.decode([id]) !== theirs.decode([id])) refuse("another tokenizer");
}

/** The most tokens of a row that the live model does: held-out rows are cut, and items of multiple-choice tasks fill the base's positions. */
function longestRow({ evaluate, preprocess }: RunConfig, positions: number): number {
  const choices = choiceMetrics(evaluate.tasks);
  const hasChoices = evaluate.gate.rules.some(({ metric, against }) => against === "live" && choices.includes(metric));
  return hasChoices ? positions : Math.min(preprocess.maxLength, positions);
}

function isAdapter({ manifest }: Published): boolean {
  return manifest.files.some(({ name }) => name === ADAPTER_CONFIG);
}

/**
 * Brings the live model, of an adapter its base as well, below a directory of the evaluation, every file checked against its digest;
 * resolves to where it lies. `root`: where all stages keep their work, with bases that lay on this machine. Throws UserError.
 */
export async function bringLive(
  models: LiveModels,
  { config, root }: Pick<StageRequest, "config" | "root">,
  live: LiveReference,
  { places, directory }: { readonly places: Places; readonly directory: string },
  events: FetchEvents,
): Promise<string> {
  const published = await openLive(models.find, targetOf(models, config), live, events.signal);
  if (isAdapter(published)) {
    const near: Places["downloadedModel"] = async (digest) =>
      (await downloadedModel(root, digest)) ?? (await places.downloadedModel(digest));
    return await bringWithBase({ ...places, downloadedModel: near }, published.uri, join(directory, "adapter"), events);
  }
  await mkdir(directory, { recursive: true });
  await models.fetch(published, directory, isModelFile, events.signal);
  return directory;
}
