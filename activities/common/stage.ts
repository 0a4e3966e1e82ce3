import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { ChangedInputError, messageOf, UserError } from "../../core/errors.js";
import type { StageMetrics } from "../../core/stages/metrics.js";
import {
  currentOutputs,
  makerOf,
  outputNamed,
  type Artifact,
  type OutputName,
  type Progress,
  type StageName,
  type StageResult,
} from "../../core/stages/results.js";
import { artifactOf, writeFileAtomic } from "../../infra/disk/files.js";
import { lock } from "../../infra/disk/lock.js";
import type { StageInput } from "../../workflows/contract.js";
import { keyParts, stageKey, type KeyParts, type StageDefinition } from "./definition.js";

/** What every stage is handed besides its dependencies. */
export interface StageRequest extends StageInput {
  /** where stages keep their work: `<root>/<stage>/<key>`; with the same root a stage goes on where a kill left it */
  readonly root: string;
}

/** How a stage hears that it should stop, and says how far it is. */
export interface StageContext {
  /** aborted on cancel, pause and shutdown: save, then throw its reason */
  readonly signal: AbortSignal;
  progress(progress: Progress): void;
}

/** Name of the file in a stage's directory that says what the stage left. */
export const RESULT = "stage.json";
/** Name of the file in a stage's directory that says what the stage's key is the digest of. */
export const WANTED = "wanted.json";
/** Name of the file in a stage's directory that says who asked for it last: the run's whole configuration, the stage's inputs, and a person's override. */
export const REQUEST = "request.json";
/** Name of the file in a stage's directory that a process locks while it works there. */
export const LOCK = "lock";

/** What a stage's work makes: every output that later stages take, and all figures. */
export interface Made<Name extends StageName> {
  readonly outputs: readonly Artifact[];
  readonly metrics: StageMetrics[Name];
  readonly stateDigest?: string;
}

/** A stage that was asked for: where it works, its inputs, and its life from the lock to the result. */
export class Stage<Name extends StageName> {
  readonly definition: StageDefinition<Name>;
  readonly key: string;
  /** the stage's own: other settings get another one, so that the work of the former ones is not lost */
  readonly directory: string;
  private readonly request: StageRequest;

  /** Throws Error when an input that the key depends on is not among the request's. */
  constructor(definition: StageDefinition<Name>, request: StageRequest) {
    this.definition = definition;
    this.request = request;
    this.key = stageKey(definition, request);
    this.directory = join(request.root, definition.name, this.key.slice(0, 16));
  }

  /** An input by its name. */
  input(name: OutputName): Artifact {
    return outputNamed(this.request.inputs, name);
  }

  /** What the stage's key is the digest of. */
  get parts(): KeyParts {
    return keyParts(this.definition, this.request);
  }

  /** The path of an input that lies on this machine. */
  path(name: OutputName): string {
    return fileURLToPath(this.input(name).uri);
  }

  /** Makes the directory and notes what it is for, so that a later run can tell what differs. */
  async begin(): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await writeFileAtomic(join(this.directory, WANTED), JSON.stringify(this.parts, null, 1));
    const { config, inputs, override } = this.request;
    const asked: StageInput = { config, inputs, ...(override && { override }) };
    await writeFileAtomic(join(this.directory, REQUEST), JSON.stringify(asked, null, 1));
  }

  /** Calls `work` with the directory made and its lock held; while another process holds it, waits and says so. */
  async locked<T>(context: StageContext, work: () => Promise<T>): Promise<T> {
    await this.begin();
    const waiting = (holder: string): void =>
      context.progress({
        stage: this.definition.name,
        done: 0,
        total: 0,
        unit: "items",
        note: `waiting for ${holder}, which does the same`,
      });
    const unlock = await lock(join(this.directory, LOCK), context.signal, waiting);
    try {
      return await work();
    } finally {
      await unlock();
    }
  }

  /** The result that the stage left when it finished; null when it has not finished. */
  async finished(): Promise<StageResult<Name> | null> {
    return (await finishedStage(this.directory)) as StageResult<Name> | null;
  }

  /** The result of a finished stage whose outputs still are what it left. If one is not, the stage is unfinished again and makes what is missing. */
  async reusable(context: StageContext): Promise<StageResult<Name> | null> {
    const finished = await this.finished();
    for (const output of finished?.outputs ?? []) {
      // a published model's digest is that of its files but the manifest, and they are outputs themselves
      if (output.name === "published") continue;
      const change = await findChange(output, context.signal);
      if (change === null) continue;
      const note = `its output ${output.name} is not what it left, so it is made again ${change}`;
      context.progress({ stage: this.definition.name, done: 0, total: 0, unit: "items", note, lasting: true });
      await this.forget();
      return null;
    }
    return finished;
  }

  /** Throws ChangedInputError when an input that the stage reads is not what the stage before left. */
  checkInputs(signal: AbortSignal): Promise<void> {
    return checkInputs(this.definition, this.request.inputs, signal);
  }

  /** Records the stage as finished: the last thing that it writes. */
  async finish(made: Made<Name>): Promise<StageResult<Name>> {
    const result = { stage: this.definition.name, ...made, reused: false } as StageResult<Name>;
    await writeFileAtomic(join(this.directory, RESULT), JSON.stringify(result, null, 1));
    return result;
  }

  /** Makes a finished stage unfinished, so that it runs again. */
  async forget(): Promise<void> {
    await rm(join(this.directory, RESULT), { force: true });
  }

  /** Does the stage's work unless it is done, and not stale; while another process is at it, waits and takes that one's result. */
  run(
    context: StageContext,
    work: () => Promise<Made<Name>>,
    isStale = (): Promise<boolean> => Promise.resolve(false),
  ): Promise<StageResult<Name>> {
    return this.locked(context, async () => {
      if (await isStale()) await this.forget();
      const finished = await this.reusable(context);
      if (finished !== null) return finished;
      await this.checkInputsOrForget(context.signal);
      const made = await work();
      // bytes may have changed between the check and the reading
      await this.checkInputsOrForget(context.signal);
      return await this.finish(made);
    });
  }

  /** Removes what was made of inputs that have changed, because nobody knows since when they have. */
  private async checkInputsOrForget(signal: AbortSignal): Promise<void> {
    try {
      await this.checkInputs(signal);
    } catch (error) {
      if (error instanceof ChangedInputError && this.definition.reads === undefined)
        for (const name of await readdir(this.directory))
          if (name !== LOCK && name !== WANTED) await rm(join(this.directory, name), { recursive: true });
      throw error;
    }
  }
}

/** A record that a stage left, from its text. Throws UserError that names it if it is damaged. */
export function parseRecord<Kept>(text: string, path: string): Kept {
  try {
    return JSON.parse(text) as Kept;
  } catch (error) {
    throw new UserError("a stage's record is damaged: remove it and run the stage again", { file: placeInRun(path) }, { cause: error });
  }
}

/** A file of a stage without the directories above the run's: `evaluate/0123456789abcdef/stage.json`. */
export function placeInRun(path: string): string {
  return path.split(sep).slice(-3).join("/");
}

/** The result that a finished stage left in its directory, marked as reused; null when it has not finished. */
export async function finishedStage(directory: string): Promise<StageResult | null> {
  try {
    const path = join(directory, RESULT);
    const result = parseRecord<StageResult>(await readFile(path, "utf8"), path);
    return { ...result, outputs: currentOutputs(result.stage, result.outputs), reused: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** What the key of the stage that works in a directory is the digest of; null when no record of it can be read. */
export async function recordedParts(directory: string): Promise<KeyParts | null> {
  try {
    return JSON.parse(await readFile(join(directory, WANTED), "utf8")) as KeyParts;
  } catch {
    // an earlier version wrote none, or a kill tore it
    return null;
  }
}

/** Throws ChangedInputError when an input that a stage reads is not what the stage before left. */
export async function checkInputs(
  { inputs: all, reads = all }: StageDefinition,
  inputs: readonly Artifact[],
  signal: AbortSignal,
): Promise<void> {
  for (const name of reads) {
    const change = await findChange(outputNamed(inputs, name), signal);
    if (change === null) continue;
    throw new ChangedInputError(
      `the ${name === "tuned" ? "tuned model" : name} changed after the stage that made it, or is gone: run \`roslin stage ${makerOf(name)}\` again ${change}`,
    );
  }
}

/** What keeps a local file or directory from being the artifact; null when its bytes have the digest. */
async function findChange({ name, uri, sha256 }: Artifact, signal: AbortSignal): Promise<string | null> {
  if (!uri.startsWith("file:")) return null;
  try {
    const got = (await artifactOf(name, fileURLToPath(uri), signal)).sha256;
    return got === sha256 ? null : `[uri=${uri}, expected=${sha256}, got=${got}]`;
  } catch (error) {
    signal.throwIfAborted();
    return `[uri=${uri}]: ${messageOf(error)}`;
  }
}
