import { mkdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ChangedInputError } from "../../core/errors.js";
import type { RunConfig } from "../../core/config/schema.js";
import {
  CARD,
  keyOf,
  MANIFEST,
  manifestText,
  nameDigits,
  PAGE,
  REPORT,
  type ChainEntry,
  type Manifest,
} from "../../core/format/manifest.js";
import { parameterCount, type Model } from "../../core/model/family.js";
import type { Override } from "../../core/stages/override.js";
import { outputNamed, OUTPUTS, type Origin, type OutputName, type StageResult } from "../../core/stages/results.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import { PromptProblem } from "../../core/text/prompt-kind.js";
import { digestFile, type FileDigest } from "../../infra/disk/file-digest.js";
import { directoryDigest, listFiles, sha256, writeFileAtomic } from "../../infra/disk/files.js";
import { compileTemplate } from "../../infra/text/jinja.js";
import { promptTokens } from "../../infra/text/prompt-tokens.js";
import { readableTokenizer } from "../../infra/text/read-tokenizer.js";
import { hasAdapter } from "../../infra/weights/adapter-files.js";
import { readEosTokenIds } from "../../infra/weights/read-model-config.js";
import type { Evaluation } from "../evaluate/evaluation.js";
import { keyParts, type StageDefinition } from "../common/definition.js";
import { checkInputs, finishedStage, recordedParts, Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { modelCard } from "../report/card.js";
import { evalResults } from "../report/eval-results.js";
import { descentOf } from "./descent.js";
import { modelParts, publicBase, type ModelParts } from "./model-parts.js";
import { reportPage } from "../report/report-page.js";
import type { Asking, Descent, Story } from "../report/story.js";
import { downloadDefinition } from "../download/definition.js";
import { evaluateDefinition } from "../evaluate/definition.js";
import { preprocessDefinition } from "../preprocess/definition.js";
import { trainDefinition } from "../train/definition.js";
import { publishDefinition } from "./definition.js";
import type { PublishDependencies } from "./deps.js";
import type { PublishedModel } from "./place.js";

/** What is published, and how it was judged. */
export interface Assembly extends Omit<PublishedModel, "beside"> {
  readonly evaluation: Evaluation;
}

const EARLIER: readonly StageDefinition[] = [downloadDefinition, preprocessDefinition, trainDefinition, evaluateDefinition];

/** Puts together what is published; only what is new is written, into the stage's directory. `overrideOf`: that of the model with a name, if its gate was not passed. */
export async function assemble(
  dependencies: PublishDependencies,
  request: StageRequest,
  stage: Stage<"publish">,
  overrideOf: (name: string) => Promise<Override | null>,
  context: StageContext,
): Promise<Assembly> {
  const { directory } = stage;
  const say = (note: string): void => context.progress({ stage: "publish", done: 0, total: 0, unit: "bytes", note });
  const paths = new Map<string, string>();
  const write = async (name: string, text: string): Promise<void> => {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFileAtomic(path, text);
    paths.set(name, path);
  };

  const descent = await descentOf(dependencies, request, context.signal);
  say("checking the tuned model");
  const tuned = await tunedFiles(stage, context.signal);
  const merge = request.config.publish.merge && hasAdapter(stage.path("tuned"));
  if (merge) {
    say("checking the base");
    await checkInputs({ ...publishDefinition, reads: ["model"] }, request.inputs, context.signal);
  }
  const evaluation = JSON.parse(await readFile(stage.path("report"), "utf8")) as Evaluation;
  paths.set(REPORT, stage.path("report"));

  const places = { base: stage.path("model"), tuned: stage.path("tuned"), directory };
  const making = { ...places, limits: dependencies.exportLimits, signal: context.signal, say };
  const parts = await modelParts(making, stage.input("model"), merge);
  const { model } = parts;
  for (const { name, path } of tuned) if (!parts.left.includes(name)) paths.set(name, path);
  for (const [name, path] of parts.made) paths.set(name, path);
  for (const [name, text] of parts.texts) await write(name, text);

  const trained = (await new Stage(trainDefinition, request).finished()) ?? (await recordBeside(stage, "tuned", "train"));
  const prepared = await recordBeside(stage, "tokens", "preprocess");
  const chain: ChainEntry[] = [];
  for (const definition of EARLIER)
    chain.push(await chainEntry(definition, request, stage, definition === trainDefinition ? trained : null));
  const made = {
    publishVersion: publishDefinition.version,
    chain,
    fingerprint: fingerprintOf(trained),
    ...descent,
    ...(merge && { merged: true as const }),
  };
  // of the same inputs, settings and code comes the same name
  const name = `${modelName(request)}-${nameDigits(made, { sha256 })}`;
  const override = evaluation.gate.passed ? null : await overrideOf(name);
  const asking = askingOf(request.config, stage.path("tuned"), model);
  const told = tellStory(name, request, parts, { trained, prepared }, evaluation, descent, asking);
  const story = { ...told, override };
  await write(CARD, modelCard(story));
  await write(PAGE, reportPage(story));
  for (const [name, text] of evalResults(story)) await write(name, text);

  say("digesting");
  const known = new Map(tuned.map(({ path, digest }) => [path, digest]));
  const digests = new Map<string, FileDigest>();
  const files = [];
  for (const [name, path] of [...paths].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const digest = known.get(path) ?? (await digestFile(path, context.signal));
    digests.set(digest.sha256, digest);
    files.push({ name, sha256: digest.sha256, bytes: digest.bytes });
  }
  const manifest: Manifest = {
    format: "roslin-manifest",
    version: 1,
    name,
    files,
    ...made,
    tuned: tuned.map(({ name, sha256 }) => ({ name, sha256 })),
    amended: [...parts.texts.keys(), ...parts.left].sort(),
    gate: gateOf(evaluation, override),
  };
  await writeFileAtomic(join(directory, MANIFEST), manifestText(manifest));
  return { manifest, paths, digests, evaluation };
}

/** What the manifest says of the gate, with its fields in the order in which a manifest is read. */
function gateOf({ gate }: Evaluation, override: Override | null): NonNullable<Manifest["gate"]> {
  const { judged, passed, reason } = gate;
  return {
    judged,
    passed,
    ...(reason !== undefined && { reason }),
    ...(override !== null && {
      override: { by: override.by, reason: override.reason, ...(override.at !== undefined && { at: override.at }) },
    }),
  };
}

/** A stage's record beside its output, which an earlier version may have made under another key; null: it lies on another machine. */
async function recordBeside<Name extends "train" | "preprocess">(
  stage: Stage<"publish">,
  output: OutputName,
  name: Name,
): Promise<StageResult<Name> | null> {
  const record = await finishedStage(dirname(stage.path(output)));
  const made = record?.outputs.some((one) => one.name === output && one.sha256 === stage.input(output).sha256);
  return record?.stage === name && made === true ? (record as StageResult<Name>) : null;
}

/** The trained model's files with their digests; ChangedInputError when they are no longer what training wrote. */
async function tunedFiles(
  stage: Stage<"publish">,
  signal: AbortSignal,
): Promise<{ name: string; path: string; sha256: string; digest: FileDigest }[]> {
  const directory = stage.path("tuned");
  const expected = stage.input("tuned").sha256;
  const files = [];
  for (const name of await listFiles(directory)) {
    const path = join(directory, name);
    const digest = await digestFile(path, signal);
    files.push({ name, path, sha256: digest.sha256, digest });
  }
  const got = directoryDigest(files);
  if (got !== expected)
    throw new ChangedInputError(
      "the tuned model is not what training wrote: run `roslin stage train` again, which makes it again from the last checkpoint",
      {
        directory,
        expected,
        got,
      },
    );
  return files;
}

/** What a stage commits to: its outputs are what was handed on, because its own record may lie on another machine. */
async function chainEntry(
  definition: StageDefinition,
  request: StageRequest,
  publishing: Stage<"publish">,
  result: StageResult<"train"> | null,
): Promise<ChainEntry> {
  const outputs = OUTPUTS[definition.name].map((name) => {
    const { sha256, bytes, origin } = outputNamed(request.inputs, name);
    return { name, sha256, bytes, ...(origin === undefined ? {} : { origin: plain(origin) }) };
  });
  const now = keyParts(definition, request);
  // an earlier version may have made them under another key, which is in the directory where they lie
  const recorded = await recordedParts(dirname(publishing.path(OUTPUTS[definition.name][0])));
  const isTheirs = recorded?.stage === now.stage && isDeepStrictEqual(recorded.inputs, now.inputs);
  const { stage, version, settings, inputs } = isTheirs ? recorded : now;
  return {
    stage,
    version,
    settings,
    inputs,
    key: keyOf({ stage, version, settings, inputs }, { sha256 }),
    outputs,
    ...(result?.stateDigest === undefined ? {} : { stateDigest: result.stateDigest }),
    ...(result?.metrics.computed === undefined ? {} : { computed: result.metrics.computed.map(({ steps, by }) => ({ steps, by })) }),
  };
}

/** With its fields in the order in which a manifest is read: the model's name is a digest of their text. */
function plain({ uri, manifest, gguf, base }: Origin): NonNullable<ChainEntry["outputs"][number]["origin"]> {
  return {
    uri,
    ...(manifest === undefined ? {} : { manifest }),
    ...(gguf === undefined ? {} : { gguf: { file: gguf.file, sha256: gguf.sha256 } }),
    ...(base === undefined ? {} : { base: { ...plain(base), files: base.files.map(({ name, sha256 }) => ({ name, sha256 })) } }),
  };
}

/** What training's bytes depend on besides inputs and settings; null: it ran on several kinds of machine, or didn't say. */
function fingerprintOf(trained: StageResult<"train"> | null): Manifest["fingerprint"] {
  return trained?.metrics.oneKindOfMachine === true ? (trained.metrics.fingerprint ?? null) : null;
}

/** The base model's name, as a part of a path; of one that Roslin published without its digits. */
function modelName(request: StageRequest): string {
  const { origin } = outputNamed(request.inputs, "model");
  if (origin?.manifest !== undefined) return basename(origin.uri.replace(/@[^/]*$/, "")).replace(/-[0-9a-f]{12}$/, "");
  const source = request.config.model.source.replace(/@[^@/]*$/, "");
  return (
    basename(source)
      .replace(/(?<=.)\.gguf$/i, "")
      .replace(/[^\w.-]+/g, "-")
      .replace(/^\.+/, "") || "model"
  );
}

/** How the model in a directory is asked for an answer; null: it has no tokenizer. */
function askingOf({ preprocess }: RunConfig, directory: string, model: Model): Asking | null {
  const tokenizer = readableTokenizer(directory);
  if (tokenizer === null) return null;
  const { ask, stop } = openPrompt(preprocess.prompt, promptTokens(tokenizer, readEosTokenIds(directory, model)), compileTemplate);
  try {
    return { request: ask({ system: "", turns: [{ instruction: "INSTRUCTION", input: "", output: "", scored: true }] }), stop };
  } catch (error) {
    // a template without an instruction
    if (error instanceof PromptProblem) return { request: "", stop };
    throw error;
  }
}

function tellStory(
  title: string,
  request: StageRequest,
  { model, adapter }: ModelParts,
  { trained, prepared }: { readonly trained: StageResult<"train"> | null; readonly prepared: StageResult<"preprocess"> | null },
  evaluation: Evaluation,
  descent: Descent,
  prompt: Asking | null,
): Omit<Story, "override"> {
  return {
    title,
    config: request.config,
    family: model.family,
    model: model.shape,
    parameters: parameterCount(model),
    ...(adapter !== undefined && { adapter: adapterStory(model, adapter, publicBase(outputNamed(request.inputs, "model")).name) }),
    losses: trained?.metrics.losses ?? [],
    ...(trained !== null && { curves: trained.metrics }),
    tokens: trained?.metrics.tokens ?? null,
    evaluation,
    prompt,
    prepared: prepared?.metrics ?? null,
    descent,
    stateDigest: trained?.stateDigest ?? null,
    fingerprint: fingerprintOf(trained),
    computed: trained?.metrics.computed,
    ledger: trained?.metrics.ledger ?? null,
    digests: Object.fromEntries(
      ["model", "dataset", "tokens", "tuned"].map((name) => [
        name === "model" ? "base model" : name,
        outputNamed(request.inputs, name).sha256,
      ]),
    ),
  };
}

function adapterStory(model: Model, { modules, merged }: NonNullable<ModelParts["adapter"]>, base: string | null): Story["adapter"] {
  const shapes = new Map(model.parameters.blocks.flat().map(({ name, shape }) => [name, shape]));
  const trained = modules.reduce((sum, { module, rank }) => sum + rank * shapes.get(`${module}.weight`)!.reduce((a, b) => a + b), 0);
  return { modules: modules.length, trained, merged, base };
}
