import { randomUUID } from "node:crypto";
import type { Stats } from "node:fs";
import { lstat, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { RunConfig } from "../../core/config/schema.js";
import { STAGES, type StageName } from "../../core/stages/results.js";
import { siblingsOf } from "../train/run/siblings.js";
import { DEFINITIONS } from "../forecast/definitions.js";
import { withRecordedLive } from "../evaluate/recorded-live.js";
import { isView } from "../download/source-plan.js";
import { forecast } from "../forecast/forecast.js";
import { lock } from "../../infra/disk/lock.js";
import type { StageInput } from "../../workflows/contract.js";
import { copyName, isCopy, SHARED } from "../common/shared-artifacts.js";
import { finishedStage, LOCK, RESULT, Stage } from "../common/stage.js";

/** A run whose work is kept; its configs name their targets. */
export interface KeptRun {
  readonly config: RunConfig;
  /** what its stages have been given so far; null unless it runs */
  readonly begun: readonly StageInput[] | null;
}

/** A stage's directory that no run needs, or one within a download's. */
export interface Garbage {
  /** SHARED: of a copy of another machine's output */
  readonly stage: StageName | typeof SHARED;
  readonly directory: string;
  /** that removing it frees */
  readonly bytes: number;
}

/** What begins the name of a directory that is being removed; no key begins with it. */
const REMOVED = ".removed-";

/**
 * The stages' directories below `root` that none of these runs works in, would reuse or would go on in. In a download's
 * directory that is kept, the directories of links to what its sources held before.
 */
export async function findGarbage(root: string, runs: readonly KeptRun[]): Promise<Garbage[]> {
  return await Promise.all((await unneededBy(root, runs)).map(async (each) => ({ ...each, bytes: await bytesBelow(each.directory) })));
}

async function unneededBy(root: string, runs: readonly KeptRun[]): Promise<Omit<Garbage, "bytes">[]> {
  const needed = await neededBy(root, runs);
  const running = runs.filter(({ begun }) => begun !== null);
  // a run reads what the sources held when it began, at any time until it is done
  const read = new Set(running.map(({ config }) => new Stage(DEFINITIONS.download, { config, inputs: [], root }).directory));
  const found: Omit<Garbage, "bytes">[] = [];
  for (const stage of STAGES)
    for (const key of await readdir(join(root, stage)).catch(() => [])) {
      const directory = join(root, stage, key);
      if (!needed.has(directory)) found.push({ stage, directory });
      else if (stage === "download" && !read.has(directory))
        found.push(...(await pastViews(directory)).map((view) => ({ stage, directory: view })));
    }
  return [...found, ...(await spareCopies(root, running))];
}

/** Copies of other machines' outputs that no running run has been given. */
async function spareCopies(root: string, running: readonly KeptRun[]): Promise<Omit<Garbage, "bytes">[]> {
  const given = new Set(running.flatMap(({ begun }) => begun!.flatMap(({ inputs }) => inputs.map(copyName))));
  const names = await readdir(join(root, SHARED)).catch(() => []);
  return names.filter((name) => isCopy(name) && !given.has(name)).map((name) => ({ stage: SHARED, directory: join(root, SHARED, name) }));
}

/** A finished download's directories of links that its result does not name, but for newer ones: a run that may go on has begun them. */
async function pastViews(directory: string): Promise<string[]> {
  const finished = await finishedStage(directory);
  if (finished === null) return [];
  const named = new Set(finished.outputs.map(({ uri }) => uri));
  const { mtimeMs } = await stat(join(directory, RESULT));
  const past: string[] = [];
  for (const view of (await readdir(directory)).filter(isView).map((name) => join(directory, name)))
    if (!named.has(pathToFileURL(view).href) && (await stat(view)).mtimeMs < mtimeMs) past.push(view);
  return past;
}

async function neededBy(root: string, runs: readonly KeptRun[]): Promise<Set<string>> {
  const forecasts = await Promise.all(runs.map(({ config }) => forecast(config, root)));
  const expected = forecasts.flat().flatMap(({ directory, from }) => (directory === null ? from : [directory, ...from]));
  // a forecast follows what the sources left last, which may be another run's by now: one that runs stays with its own
  const stages = runs
    .flatMap((run) => run.begun ?? [])
    .flatMap((input) => {
      const names = new Set<string>(input.inputs.map(({ name }) => name));
      const possible = STAGES.filter((stage) => DEFINITIONS[stage].inputs.every((name) => names.has(name)));
      return possible.map(async (stage) => {
        const request = { ...input, root };
        return new Stage<StageName>(DEFINITIONS[stage], stage === "evaluate" ? await withRecordedLive(request) : request);
      });
    });
  const begun = await Promise.all(stages);
  const trained = begun.flatMap(({ definition, directory, parts }) => (definition.name === "train" ? [{ directory, parts }] : []));
  const from = await Promise.all(
    trained.map(async ({ directory, parts }) => ((await finishedStage(directory)) === null ? siblingsOf(root, directory, parts) : [])),
  );
  // an earlier version may have named what it left by other keys, and a run that goes on from it still reads it
  const given = runs.flatMap((run) => run.begun ?? []).flatMap(({ inputs }) => inputs.flatMap(({ uri }) => stageDirectory(root, uri)));
  return new Set([...expected, ...[...begun, ...from.flat()].map(({ directory }) => directory), ...given]);
}

/** The stage's directory below `root` that holds what a URI names; none if no stage made it there. */
function stageDirectory(root: string, uri: string): string[] {
  if (!uri.startsWith("file:")) return [];
  const [stage = "", key] = relative(root, fileURLToPath(uri)).split(sep);
  return key !== undefined && (STAGES as readonly string[]).includes(stage) ? [join(root, stage, key)] : [];
}

/**
 * Removes a directory unless a process works in it, or a run that `runs` now names needs it; resolves to the reason if it stays.
 * `discard` removes what the journals of its unfinished uploads name.
 */
export async function removeGarbage(
  root: string,
  { directory }: Garbage,
  runs: () => Promise<readonly KeptRun[]>,
  discard: (journal: string) => Promise<void>,
): Promise<string | null> {
  const locked = isView(basename(directory)) ? dirname(directory) : directory;
  return await tryLock(join(locked, LOCK), async () => {
    // a run that has begun since waits for the lock, or is among these
    if (!(await unneededBy(root, await runs())).some((each) => each.directory === directory)) return "a run that has begun since needs it";
    for (const journal of await journalsIn(directory)) await discard(journal);
    // a process that looks meanwhile finds nothing, rather than half of it
    const removed = join(root, `${REMOVED}${randomUUID()}`);
    await rename(directory, removed);
    await rm(removed, { recursive: true });
    return null;
  });
}

/** Lets `discard` remove the unfinished uploads that none of the runs that `runs` names will continue. */
export async function discardUploads(
  root: string,
  runs: () => Promise<readonly KeptRun[]>,
  discard: (journal: string) => Promise<void>,
): Promise<void> {
  const publishing = join(root, "publish" satisfies StageName);
  for (const key of await readdir(publishing).catch(() => [])) {
    const directory = join(publishing, key);
    if ((await journalsIn(directory)).length === 0) continue;
    await tryLock(join(directory, LOCK), async () => {
      if (!(await neededBy(root, await runs())).has(directory)) for (const journal of await journalsIn(directory)) await discard(journal);
      return null;
    });
  }
}

async function journalsIn(directory: string): Promise<string[]> {
  const uploads = join(directory, "uploads");
  return (await readdir(uploads).catch(() => [])).map((name) => join(uploads, name));
}

/** Calls `work` with a lock held; if another process holds it, resolves to words that say which. */
export async function tryLock(path: string, work: () => Promise<string | null>): Promise<string | null> {
  let unlock: () => Promise<void>;
  try {
    unlock = await lock(path, new AbortController().signal, (holder) => {
      throw new InUse(`${holder} works in it`);
    });
  } catch (error) {
    if (error instanceof InUse) return error.message;
    throw error;
  }
  try {
    return await work();
  } finally {
    await unlock();
  }
}

class InUse extends Error {}

/** Finishes removals that were killed. */
export async function finishRemovals(root: string): Promise<void> {
  for (const name of await readdir(root).catch(() => []))
    if (name.startsWith(REMOVED)) await rm(join(root, name), { recursive: true, force: true });
}

/** Bytes that removing a directory would free: a file that has another name elsewhere, such as in a cache, stays. */
function bytesBelow(directory: string): Promise<number> {
  return sizeBelow(directory, ({ nlink, size }) => (nlink > 1 ? 0 : size));
}

/** Bytes of a file, or of all files below a directory, as `bytesOf` counts them; 0 if there is none. */
export async function sizeBelow(path: string, bytesOf: (file: Stats) => number = ({ size }) => size): Promise<number> {
  const info = await lstat(path).catch(() => null);
  if (info === null) return 0;
  if (!info.isDirectory()) return bytesOf(info);
  let sum = 0;
  for (const name of await readdir(path)) sum += await sizeBelow(join(path, name), bytesOf);
  return sum;
}
