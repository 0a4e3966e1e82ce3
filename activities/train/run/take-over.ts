import { constants } from "node:fs";
import { copyFile, link, open, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { messageOf } from "../../../core/errors.js";
import { computingWords } from "../../../core/stages/words.js";
import { sha256File, syncDirectory } from "../../../infra/disk/files.js";
import { lock } from "../../../infra/disk/lock.js";
import type { ObjectStore } from "../../../infra/store/store.js";
import { processStart } from "../../../infra/process/process-start.js";
import { LOCK, type Stage, type StageContext, type StageRequest } from "../../common/stage.js";
import { computingOf } from "../definition.js";
import type { TrainDeps } from "../deps.js";
import { findEnd } from "../log/attempt-end.js";
import { checkpoints, findProblem, history, lineOf, SHARDS, type Checkpoint } from "../log/checkpoint.js";
import type { CommitLog } from "../log/commit-log.js";
import type { Past, ShardFile } from "../log/entries.js";
import { makeLedger, spansOf } from "../log/make-ledger.js";
import { computedSteps } from "../log/past.js";
import { readSteps } from "../log/steps-file.js";
import { TrainingPlace, trainingPlace } from "../log/training-place.js";
import { siblingsOf, type Sibling } from "./siblings.js";

/**
 * A run that was begun by one engine, or one version of it, is finished by another: the same job computed in another way has
 * another key and so another directory, and the newest whole checkpoint there is linked into the new one. Nothing there is changed.
 */

/** What taking over works with. */
export interface Taking {
  readonly deps: Pick<TrainDeps, "openStore" | "openShared">;
  readonly request: StageRequest;
  readonly stage: Stage<"train">;
  readonly place: TrainingPlace;
  readonly log: CommitLog;
  readonly totalSteps: number;
  readonly context: StageContext;
  readonly say: (note: string, lasting?: true) => void;
}

/** A checkpoint of a sibling. */
interface Candidate {
  readonly sibling: Sibling;
  readonly log: CommitLog;
  readonly checkpoint: Checkpoint;
}

/** Words that say why files cannot have a second name: then they are copied. */
const LINKLESS = ["EXDEV", "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

/**
 * The checkpoint to go on from: `own`, or one that a sibling has beyond it. Only where no attempt of this directory has made
 * a checkpoint, because a run that was stopped goes on with its own bits.
 */
export async function takeOver(taking: Taking, own: Checkpoint | null): Promise<Checkpoint | null> {
  if (own !== null && own.entry.past === undefined) return own;
  const { context, say } = taking;
  const useless = new Set<string>();
  for (;;) {
    const found = await furthest(taking, own?.entry.step ?? 0, useless);
    if (found === null) return own;
    const { sibling } = found;
    const waiting = (holder: string): void =>
      say(
        `waiting for ${holder}, which trains the same with ${computingWords(sibling.computing)} and has saved ${found.checkpoint.entry.step} steps`,
      );
    // a process that trains there goes on in peace, and nobody removes the directory meanwhile
    const unlock = await lock(join(sibling.directory, LOCK), context.signal, waiting);
    try {
      const now = await furthest(taking, own?.entry.step ?? 0, useless);
      if (now?.sibling.directory !== sibling.directory) continue;
      const taken = await take(taking, now);
      if (taken !== null) return taken;
      useless.add(nameOf(now));
    } finally {
      await unlock();
    }
  }
}

/** Where a sibling keeps its log and its files: in the same store, if the machines of the run share one. */
async function placeOf({ deps, request, context, say }: Taking, { directory }: Sibling): Promise<TrainingPlace> {
  const place = trainingPlace(deps, directory, request.config.train, { signal: context.signal, onNote: say });
  if (place.shared === null || (await place.log()).entries.length > 0) return place;
  // one machine alone had begun it
  return new TrainingPlace(directory, deps.openStore(directory), null);
}

/** What the machines of the run share, all its trainings; null: it is this machine's alone. */
function sharedStore({ deps, request, stage, context, say }: Taking): ObjectStore | null {
  const { store } = request.config.train.workers;
  const sharing = { journals: join(stage.directory, "uploads"), signal: context.signal, onBytes: () => undefined, onNote: say };
  return store === null ? null : deps.openShared(store, "", sharing).store;
}

function nameOf({ sibling, checkpoint }: Candidate): string {
  return `${sibling.directory} ${checkpoint.commit}`;
}

/** Of the siblings' checkpoints that have more steps than `beyond` the one that has most; none of a training that has all its steps. */
async function furthest(taking: Taking, beyond: number, useless: ReadonlySet<string>): Promise<Candidate | null> {
  const { request, stage, totalSteps } = taking;
  const candidates: Candidate[] = [];
  for (const sibling of await siblingsOf(request.root, stage.directory, stage.parts, sharedStore(taking))) {
    const log = await (await placeOf(taking, sibling)).log();
    const all = checkpoints(log);
    if (all.some(({ entry }) => entry.step >= totalSteps)) continue;
    candidates.push(...all.map((checkpoint) => ({ sibling, log, checkpoint })));
  }
  const better = candidates.filter((each) => each.checkpoint.entry.step > beyond && !useless.has(nameOf(each)));
  return better.sort((a, b) => b.checkpoint.entry.step - a.checkpoint.entry.step || b.checkpoint.commit - a.checkpoint.commit)[0] ?? null;
}

/** Takes a checkpoint over; null when its files are not whole. */
async function take(taking: Taking, candidate: Candidate): Promise<Checkpoint | null> {
  const { stage, log, context, say } = taking;
  const { directory } = stage;
  const { sibling, checkpoint } = candidate;
  const { step, updates, reason, fingerprint } = checkpoint.entry;
  const where = `train/${basename(sibling.directory)}`;
  const shards: ShardFile[] = checkpoint.entry.shards.map((shard) => ({ ...shard, file: takenFile(shard) }));
  const there = await placeOf(taking, sibling);
  // one that cannot be had is missed where it is read
  for (const shard of checkpoint.entry.shards) await there.bring(shard);
  const problem = await placeFiles(candidate, directory, shards, context.signal, say);
  if (problem !== null) {
    for (const { file } of shards) await rm(join(directory, file), { force: true });
    // pruned there long ago
    if (problem !== "gone") say(`checkpoint of step ${step} in ${where} is not taken over: ${problem}`, true);
    return null;
  }
  for (const { file } of shards) await taking.place.keep(file);
  const past = await pastOf(taking, candidate);
  const steps = history(candidate.log, checkpoint.commit);
  const commit = await log.append({
    kind: "checkpoint",
    generation: 0,
    step,
    updates,
    reason,
    parent: null,
    fingerprint,
    shards,
    steps,
    past,
  });
  const exporter = candidate.log.entries.findLast((entry) => entry.kind === "exporter");
  if (exporter?.kind === "exporter") await log.append({ kind: "exporter", runId: exporter.runId });
  const now = computingOf(stage.parts);
  say(
    `goes on from step ${step}, which ${computingWords(sibling.computing)} saved in ${where}; the steps after it are computed by ${computingWords(now)}, ` +
      "so equal bytes with another run are not claimed. Remove that directory if training is to begin anew",
    true,
  );
  return { commit, entry: log.entries[commit - 1] as Checkpoint["entry"] };
}

/** The name of a shard's file here: equal names have equal bytes, whatever was begun before, and no attempt writes it. */
function takenFile({ sha256, file }: ShardFile): string {
  return `${SHARDS}/taken-${sha256.slice(0, 16)}-${basename(file).replace(/^(g\d+|taken-[0-9a-f]+)-/, "")}`;
}

/** Gives a checkpoint's files a second name, and reads them; what keeps them from being whole, or "gone" if there is not one of them. */
async function placeFiles(
  { sibling, checkpoint }: Candidate,
  directory: string,
  shards: readonly ShardFile[],
  signal: AbortSignal,
  say: (note: string) => void,
): Promise<string | null> {
  const missing: string[] = [];
  for (const [index, { file }] of checkpoint.entry.shards.entries())
    try {
      await placeOne(join(sibling.directory, file), join(directory, shards[index]!.file));
    } catch (error) {
      if (!["ENOENT", "EIO"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      missing.push(messageOf(error));
    }
  if (missing.length > 0) return missing.length === shards.length ? "gone" : missing[0]!;
  const problem = await findProblem({ shards }, directory, (path) => sha256File(path, signal), say);
  if (problem === null) await syncDirectory(join(directory, SHARDS));
  return problem;
}

async function placeOne(from: string, to: string): Promise<void> {
  const temporary = `${to}.tmp`;
  await rm(temporary, { force: true });
  try {
    await link(from, temporary);
  } catch (error) {
    if (!LINKLESS.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    await copyFile(from, temporary, constants.COPYFILE_FICLONE);
    const file = await open(temporary, "r");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await rename(temporary, to);
  // a rename between two names of one file does nothing
  await rm(temporary, { force: true });
}

/** What the sibling's records say of the steps up to a checkpoint. */
async function pastOf(taking: Taking, { sibling, log, checkpoint }: Candidate): Promise<Past> {
  const { request } = taking;
  const { commit } = checkpoint;
  const line = lineOf(log, commit);
  await (await placeOf(taking, sibling)).bringSteps();
  const steps = await readSteps(sibling.directory);
  const spans = spansOf(log, line, steps, Infinity);
  const end = await findEnd(log, sibling.directory, request.config.train.shards, processStart, false);
  const newest = checkpoints(log).at(-1)?.commit === commit;
  const last = spans.findLastIndex(({ generation }) => generation === log.entries.findLastIndex(({ kind }) => kind === "attempt") + 1);
  const closed = spans.map((span, index) => {
    if (index !== last) return span;
    const words = [end?.what ?? span.what, ...(newest ? [] : ["a newer checkpoint was damaged"]), "another engine or version went on"];
    return { ...span, failure: span.failure || !newest, what: words.join("; ") };
  });
  const { proof } = makeLedger(log, commit, steps);
  const furthest = steps.flatMap(({ lines }) => lines).reduce((most, { step }) => Math.max(most, step), checkpoint.entry.step);
  return {
    directory: basename(sibling.directory),
    commit,
    computed: computedSteps(line, sibling.computing),
    spans: closed,
    proof,
    furthest: Math.max(furthest, line.at(-1)?.past?.furthest ?? 0),
  };
}
