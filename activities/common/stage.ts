import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RunConfig } from "../../core/config/schema.js";
import { ChangedInputError, messageOf } from "../../core/errors.js";
import { keyOf } from "../../core/format/manifest.js";
import {
  currentOutputs,
  makerOf,
  outputNamed,
  type Artifact,
  type Metrics,
  type OutputName,
  type Progress,
  type StageName,
  type StageResult,
} from "../../core/stages/stage.js";

/** What every stage is handed besides its dependencies. */
export interface StageRequest {
  readonly config: RunConfig;
  /** outputs of the earlier stages, by name */
  readonly inputs: readonly Artifact[];
  /** where stages keep their work: `<root>/<stage>/<key>`; the same root goes on where a kill left it */
  readonly root: string;
}

/** How a stage hears that it should stop, and says how far it is. */
export interface StageContext {
  /** aborted on cancel, pause and shutdown: save, then throw its reason */
  readonly signal: AbortSignal;
  progress(progress: Progress): void;
}

/** What decides whether a stage has to run again. */
export interface StageDefinition {
  readonly name: StageName;
  /** raised whenever the same inputs and settings would give other bytes */
  readonly version: number;
  /** names of the inputs that the outputs depend on */
  readonly inputs: readonly OutputName[];
  /** those of them whose bytes it reads; all, where it doesn't say */
  readonly reads?: readonly OutputName[];
  /** the part of the config that the outputs depend on */
  settings(config: RunConfig): unknown;
}

/** What every stage needs of the machine: infra's functions of these names. */
export interface StageFiles {
  /** Writes a file whole or not at all. */
  writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void>;
  /** Holds an exclusive lock until the returned function is called; a dead holder's is taken over. `waiting` hears who holds it. */
  lock(path: string, signal: AbortSignal, waiting: (holder: string) => void): Promise<() => Promise<void>>;
  /** A reference to a file or directory, digested now. */
  artifactOf(name: string, path: string, signal?: AbortSignal): Promise<Artifact>;
}

/** Everything that a stage's outputs depend on. */
export type KeyParts = Parameters<typeof keyOf>[0];

/** What the outputs of a request's stage depend on. */
export function keyParts(definition: StageDefinition, request: Pick<StageRequest, "config" | "inputs">): KeyParts {
  const { name: stage, version } = definition;
  const inputs = definition.inputs.map((name) => outputNamed(request.inputs, name)).map(({ name, sha256 }) => ({ name, sha256 }));
  return { stage, version, settings: definition.settings(request.config), inputs };
}

/** Digest of everything that a stage's outputs depend on: equal keys mean equal outputs. */
export function stageKey(definition: StageDefinition, request: Pick<StageRequest, "config" | "inputs">): string {
  return keyOf(keyParts(definition, request), { sha256 });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** A stage's own directory: another setting gets another one, so that a changed mind loses nothing. */
export function stageDirectory(definition: StageDefinition, request: StageRequest): string {
  return join(request.root, definition.name, stageKey(definition, request).slice(0, 16));
}

/** Name of the file in a stage's directory that says what it left. */
export const RESULT = "stage.json";
/** Name of the file in a stage's directory that says what its key is the digest of. */
export const WANTED = "wanted.json";

/** Makes a stage's directory, which says what it is for: so that a later run can tell by what it differs. */
export async function beginStage(
  files: Pick<StageFiles, "writeFileAtomic">,
  definition: StageDefinition,
  request: StageRequest,
): Promise<string> {
  const directory = stageDirectory(definition, request);
  await mkdir(directory, { recursive: true });
  await files.writeFileAtomic(join(directory, WANTED), JSON.stringify(keyParts(definition, request), null, 1));
  return directory;
}

/** The result that a finished stage left in its directory, marked as reused; null when it has not finished. */
export async function finishedStage(directory: string): Promise<StageResult | null> {
  try {
    const result = JSON.parse(await readFile(join(directory, RESULT), "utf8")) as StageResult;
    return { ...result, outputs: currentOutputs(result.stage, result.outputs), reused: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** What keeps a local file or directory from being the artifact; null when its bytes have the digest. */
async function findChange(files: StageFiles, { name, uri, sha256 }: Artifact, signal: AbortSignal): Promise<string | null> {
  if (!uri.startsWith("file:")) return null;
  try {
    const got = (await files.artifactOf(name, fileURLToPath(uri), signal)).sha256;
    return got === sha256 ? null : `[uri=${uri}, expected=${sha256}, got=${got}]`;
  } catch (error) {
    signal.throwIfAborted();
    return `[uri=${uri}]: ${messageOf(error)}`;
  }
}

/** The result of a finished stage whose outputs still are what it left; else it is unfinished again, and does over what is missing. */
export async function reusableStage(files: StageFiles, directory: string, context: StageContext): Promise<StageResult | null> {
  const finished = await finishedStage(directory);
  for (const output of finished?.outputs ?? []) {
    // a published model's digest is that of its files but the manifest, and they are outputs themselves
    if (output.name === "published") continue;
    const change = await findChange(files, output, context.signal);
    if (change === null) continue;
    const note = `its output ${output.name} is not what it left, and is made again ${change}`;
    context.progress({ stage: finished!.stage, done: 0, total: 0, unit: "items", note, lasting: true });
    await forgetStage(directory);
    return null;
  }
  return finished;
}

/** Throws ChangedInputError when an input that a stage reads is not what the stage before left. */
export async function checkInputs(
  files: StageFiles,
  { inputs, reads = inputs }: StageDefinition,
  request: Pick<StageRequest, "inputs">,
  signal: AbortSignal,
): Promise<void> {
  for (const name of reads) {
    const change = await findChange(files, outputNamed(request.inputs, name), signal);
    if (change === null) continue;
    throw new ChangedInputError(
      `the ${name === "tuned" ? "tuned model" : name} changed after the stage that made it, or is gone: run \`roslin stage ${makerOf(name)}\` again ${change}`,
    );
  }
}

/** Makes a finished stage unfinished, so that it is run again. */
export async function forgetStage(directory: string): Promise<void> {
  await rm(join(directory, RESULT), { force: true });
}

/** Removes what a stage has done so far, but the lock that its caller holds and the record of what it is. */
async function forgetWork(directory: string): Promise<void> {
  for (const name of await readdir(directory)) if (name !== "lock" && name !== WANTED) await rm(join(directory, name), { recursive: true });
}

/** Records a stage as finished; the last thing that it writes. */
export async function finishStage(files: StageFiles, directory: string, result: Omit<StageResult, "reused">): Promise<StageResult> {
  const whole: StageResult = { ...result, reused: false };
  await files.writeFileAtomic(join(directory, RESULT), JSON.stringify(whole, null, 1));
  return whole;
}

/** Runs a stage unless it is finished; when another process is at it, waits and takes its result. */
export async function runStage(
  files: StageFiles,
  definition: StageDefinition,
  request: StageRequest,
  context: StageContext,
  work: (directory: string) => Promise<{ readonly outputs: readonly Artifact[]; readonly metrics: Metrics; readonly stateDigest?: string }>,
): Promise<StageResult> {
  const directory = await beginStage(files, definition, request);
  const waiting = (holder: string): void =>
    context.progress({ stage: definition.name, done: 0, total: 0, unit: "items", note: `waiting for ${holder}, which does the same` });
  const unlock = await files.lock(join(directory, "lock"), context.signal, waiting);
  try {
    const finished = await reusableStage(files, directory, context);
    if (finished !== null) return finished;
    const check = (): Promise<void> =>
      checkInputs(files, definition, request, context.signal).catch(async (error: unknown) => {
        // nobody knows since when, so what was made of it is not gone on with
        if (error instanceof ChangedInputError && definition.reads === undefined) await forgetWork(directory);
        throw error;
      });
    await check();
    const made = await work(directory);
    // bytes may have changed between the check and the reading
    await check();
    return await finishStage(files, directory, { stage: definition.name, ...made });
  } finally {
    await unlock();
  }
}
