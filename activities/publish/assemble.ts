import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ChangedInputError } from "../../core/errors.js";
import { CARD, MANIFEST, manifestText, nameDigits, REPORT, type Manifest } from "../../core/format/manifest.js";
import { planExport } from "../../core/model/export.js";
import { parameterCount } from "../../core/model/gptj/parameters.js";
import { outputNamed, OUTPUTS, type Artifact, type Origin, type StageResult } from "../../core/stages/stage.js";
import type { FileDigest } from "../../infra/store/file-digest.js";
import { type Evaluation } from "../evaluate/evaluate.js";
import { finishedStage, stageDirectory, stageKey, type StageContext, type StageDefinition, type StageRequest } from "../common/stage.js";
import { modelCard } from "../report/card.js";
import { descentOf } from "./descent.js";
import { exportOnnx, externalDataConfig } from "./onnx.js";
import { reportPage } from "../report/report-page.js";
import type { Descent, Story } from "../report/story.js";
import { downloadDefinition } from "../download/definition.js";
import { evaluateDefinition } from "../evaluate/definition.js";
import { preprocessDefinition } from "../preprocess/definition.js";
import { trainDefinition } from "../train/definition.js";
import { publishDefinition } from "./definition.js";
import type { PublishDependencies } from "./deps.js";

/** What is published: the manifest, where each of its files lies on this machine, and their digests by the hex of the whole's. */
export interface Assembly {
  readonly manifest: Manifest;
  readonly paths: ReadonlyMap<string, string>;
  readonly digests: ReadonlyMap<string, FileDigest>;
  readonly evaluation: Evaluation;
}

/** Directory of the ONNX export, in the stage's own and among the published files. */
export const ONNX = "onnx";

const EARLIER: readonly StageDefinition[] = [downloadDefinition, preprocessDefinition, trainDefinition, evaluateDefinition];

/** Puts together what is published; only what is new is written, into the stage's directory. */
export async function assemble(
  dependencies: PublishDependencies,
  request: StageRequest,
  directory: string,
  context: StageContext,
): Promise<Assembly> {
  const say = (note: string): void => context.progress({ stage: "publish", done: 0, total: 0, unit: "bytes", note });
  const paths = new Map<string, string>();
  const write = async (name: string, text: string): Promise<void> => {
    paths.set(name, join(directory, name));
    await dependencies.files.writeFileAtomic(paths.get(name)!, text);
  };

  const descent = await descentOf(dependencies, request, context.signal);
  say("checking the tuned model");
  const tuned = await tunedFiles(dependencies, outputNamed(request.inputs, "tuned"), context.signal);
  for (const { name, path } of tuned) paths.set(name, path);
  const evaluation = JSON.parse(await readFile(inputPath(request, "report"), "utf8")) as Evaluation;
  paths.set(REPORT, inputPath(request, "report"));

  say("writing the ONNX export");
  const model = dependencies.openModel(inputPath(request, "tuned"));
  const plan = planExport(model.config, dependencies.exportLimits);
  const names = await exportOnnx(model, plan, join(directory, ONNX), context.signal).finally(() => model.close());
  for (const name of names) paths.set(`${ONNX}/${name}`, join(directory, ONNX, name));
  const extra = externalDataConfig(plan);
  if (extra !== null) await write("config.json", `${JSON.stringify({ ...model.configJson, ...extra }, null, 2)}\n`);

  const results = await Promise.all(EARLIER.map((definition) => finishedStage(stageDirectory(definition, request))));
  const chain = EARLIER.map((definition, index) => chainEntry(definition, request, results[index]!));
  const trained = results[EARLIER.indexOf(trainDefinition)] ?? null;
  const made = { publishVersion: publishDefinition.version, chain, fingerprint: fingerprintOf(trained), ...descent };
  // of the same inputs, settings and code comes the same name
  const name = `${modelName(request)}-${nameDigits(made, dependencies)}`;
  const story = tellStory(name, request, model, trained, evaluation, descent);
  await write(CARD, modelCard(story));
  await write("report.html", reportPage(story));

  say("digesting");
  const known = new Map(tuned.map(({ path, digest }) => [path, digest]));
  const digests = new Map<string, FileDigest>();
  const files = [];
  for (const [name, path] of [...paths].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const digest = known.get(path) ?? (await dependencies.digestFile(path, context.signal));
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
    amended: extra === null ? [] : ["config.json"],
  };
  await dependencies.files.writeFileAtomic(join(directory, MANIFEST), manifestText(manifest));
  return { manifest, paths, digests, evaluation };
}

function inputPath(request: StageRequest, name: string): string {
  return fileURLToPath(outputNamed(request.inputs, name).uri);
}

/** The trained model's files with their digests; ChangedInputError when they are no longer what training wrote. */
async function tunedFiles(
  dependencies: PublishDependencies,
  tuned: Artifact,
  signal: AbortSignal,
): Promise<{ name: string; path: string; sha256: string; digest: FileDigest }[]> {
  const directory = fileURLToPath(tuned.uri);
  const files = [];
  for (const name of await dependencies.listFiles(directory)) {
    const path = join(directory, name);
    const digest = await dependencies.digestFile(path, signal);
    files.push({ name, path, sha256: digest.sha256, digest });
  }
  const got = dependencies.directoryDigest(files);
  if (got !== tuned.sha256)
    throw new ChangedInputError(
      "the tuned model is not what training wrote: run `roslin stage train` again, which makes it anew from the last checkpoint",
      {
        directory,
        expected: tuned.sha256,
        got,
      },
    );
  return files;
}

/** What a stage commits to. Its outputs come from its result, or, where that lies elsewhere, from what was handed on. */
function chainEntry(definition: StageDefinition, request: StageRequest, result: StageResult | null): Manifest["chain"][number] {
  const inputs = definition.inputs.map((name) => ({ name, sha256: outputNamed(request.inputs, name).sha256 }));
  const outputs = OUTPUTS[definition.name].map((name) => {
    const { sha256, bytes, origin } = outputNamed(request.inputs, name);
    return { name, sha256, bytes, ...(origin === undefined ? {} : { origin: plain(origin) }) };
  });
  const settings = definition.settings(request.config);
  const { name: stage, version } = definition;
  return {
    stage,
    version,
    settings,
    inputs,
    key: stageKey(definition, request),
    outputs,
    ...(result?.stateDigest === undefined ? {} : { stateDigest: result.stateDigest }),
  };
}

/** With its fields in the order in which a manifest is read: the model's name is a digest of their text. */
function plain({ uri, manifest }: Origin): Origin {
  return { uri, ...(manifest === undefined ? {} : { manifest }) };
}

/** What training's bytes depend on besides inputs and settings; null: it ran on several kinds of machine, or didn't say. */
function fingerprintOf(trained: StageResult | null): Manifest["fingerprint"] {
  return trained?.metrics["oneKindOfMachine"] === true ? (trained.metrics["fingerprint"] as Record<string, unknown>) : null;
}

/** The base model's name, as a part of a path; of one that Roslin published without its digits. */
function modelName(request: StageRequest): string {
  const { origin } = outputNamed(request.inputs, "model");
  if (origin?.manifest !== undefined) return basename(origin.uri).replace(/-[0-9a-f]{12}$/, "");
  const source = request.config.model.source.replace(/@[^@/]*$/, "");
  return (
    basename(source)
      .replace(/[^\w.-]+/g, "-")
      .replace(/^\.+/, "") || "model"
  );
}

function tellStory(
  title: string,
  request: StageRequest,
  { config: model }: { config: Story["model"] },
  trained: StageResult | null,
  evaluation: Evaluation,
  descent: Descent,
): Story {
  const { metrics } = trained ?? {};
  return {
    title,
    config: request.config,
    model,
    parameters: parameterCount(model),
    losses: (metrics?.["losses"] as number[] | undefined) ?? [],
    tokens: (metrics?.["tokens"] as number | undefined) ?? null,
    evaluation,
    descent,
    stateDigest: trained?.stateDigest ?? null,
    fingerprint: fingerprintOf(trained),
    ledger: (metrics?.["ledger"] as Story["ledger"] | undefined) ?? null,
    digests: Object.fromEntries(
      ["model", "dataset", "tokens", "tuned"].map((name) => [
        name === "model" ? "base model" : name,
        outputNamed(request.inputs, name).sha256,
      ]),
    ),
  };
}
