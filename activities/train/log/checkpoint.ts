import { rename, rm, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../../core/errors.js";
import type { CommitLog } from "./commit-log.js";
import type { StepRecord } from "../../../engines/engine.js";
import type { ObjectStore } from "../../../infra/store/store.js";
import type { CheckpointEntry, LogEntry, ShardFile } from "./entries.js";

/** Where a stage keeps its checkpoints' shard files, relative to its directory. */
export const SHARDS = "shards";

/** A shard's file after `stepsDone` steps, named by generation so that no two attempts write the same. */
export function shardFile(generation: number, stepsDone: number, shard: number): string {
  return `${SHARDS}/g${String(generation).padStart(6, "0")}-s${String(stepsDone).padStart(7, "0")}-shard${String(shard).padStart(2, "0")}.safetensors`;
}

/** A checkpoint and the number of its entry in the commit log. */
export interface Checkpoint {
  readonly commit: number;
  readonly entry: CheckpointEntry;
}

/** The checkpoints that are not set aside, oldest first. */
export function checkpoints(log: Pick<CommitLog, "entries">): Checkpoint[] {
  const aside = new Set(log.entries.flatMap((entry) => (entry.kind === "set-aside" ? [entry.commit] : [])));
  return log.entries.flatMap((entry, index) =>
    entry.kind === "checkpoint" && !aside.has(index + 1) ? [{ commit: index + 1, entry }] : [],
  );
}

/** Of files that lie in the directory anyway. */
const isHere = (): Promise<null> => Promise.resolve(null);

/** What reading a file fails with when its bytes are lost. */
const LOST = ["ENOENT", "EIO"];

/**
 * The newest checkpoint whose files have their digests; worse ones are set aside, in the log and by name. Null: start
 * from the base model. `say` hears of each file, because reading all of them may take minutes. `bring` fetches a file that
 * lies elsewhere, and says why it cannot be had.
 */
export async function lastGood(
  log: CommitLog,
  directory: string,
  sha256File: (path: string) => Promise<string>,
  say: (note: string, lasting?: true) => void,
  bring: (file: ShardFile) => Promise<string | null> = isHere,
): Promise<Checkpoint | null> {
  for (const [index, entry] of log.entries.entries())
    if (entry.kind === "lost") say(`commit ${index + 1} is set aside: ${entry.reason}`, true);
  for (const candidate of checkpoints(log).reverse()) {
    const problem = await findProblem(candidate.entry, directory, sha256File, say, bring);
    if (problem === null) return candidate;
    say(`checkpoint of step ${candidate.entry.step} is set aside: ${problem}`, true);
    await log.append({ kind: "set-aside", commit: candidate.commit, reason: problem });
    for (const { file } of candidate.entry.shards)
      await rename(join(directory, file), join(directory, `${file}.bad`)).catch(() => undefined);
  }
  return null;
}

/** What keeps a checkpoint's files from being whole; null: nothing. */
export async function findProblem(
  entry: Pick<CheckpointEntry, "shards">,
  directory: string,
  sha256File: (path: string) => Promise<string>,
  say: (note: string) => void,
  bring: (file: ShardFile) => Promise<string | null> = isHere,
): Promise<string | null> {
  for (const shard of entry.shards) {
    const { file, bytes, sha256 } = shard;
    const path = join(directory, file);
    say(`checking ${file}`);
    const absent = await bring(shard);
    if (absent !== null) return absent;
    try {
      const size = (await stat(path)).size;
      if (size !== bytes) return `${file} has ${size} bytes, not ${bytes}`;
      const got = await sha256File(path);
      if (got !== sha256) return `${file} has digest ${got}, not ${sha256}`;
    } catch (error) {
      // an interruption, or too many open files, says nothing about the checkpoint
      if (!LOST.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      return messageOf(error);
    }
  }
  return null;
}

/**
 * Removes all shard files but those of the newest `keep` checkpoints, in the directory and in the store that machines share,
 * if they do; files of this generation that are still being written stay.
 */
export async function pruneShards(
  log: CommitLog,
  directory: string,
  keep: number,
  generation: number,
  store: Pick<ObjectStore, "list" | "delete"> | null = null,
): Promise<void> {
  const kept = new Set(
    checkpoints(log)
      .slice(-keep)
      .flatMap(({ entry }) => entry.shards.map((shard) => shard.file)),
  );
  const committed = new Set(checkpoints(log).flatMap(({ entry }) => entry.shards.map((shard) => shard.file)));
  const isOver = (file: string): boolean => {
    const writing = !committed.has(file) && Number(/\/g(\d+)-/.exec(file)?.[1] ?? 0) >= generation;
    return !kept.has(file) && !writing;
  };
  for (const name of await readdir(join(directory, SHARDS)).catch(() => []))
    if (isOver(`${SHARDS}/${name}`)) await rm(join(directory, SHARDS, name), { force: true });
  for (const { key } of (await store?.list(`${SHARDS}/`)) ?? []) if (isOver(key)) await store!.delete(key);
}

/** A checkpoint and those that it goes back to, newest first; a lost one is missing. */
export function lineOf(log: Pick<CommitLog, "entries">, commit: number): CheckpointEntry[] {
  const line: CheckpointEntry[] = [];
  for (let at: number | null = commit; at !== null;) {
    const entry: LogEntry | undefined = log.entries[at - 1];
    if (entry?.kind === "checkpoint") {
      line.push(entry);
      at = entry.parent;
    } else at = checkpoints(log).findLast(({ commit: before }) => before < at!)?.commit ?? null;
  }
  return line;
}

/** Every step's record up to a checkpoint. */
export function history(log: Pick<CommitLog, "entries">, commit: number): StepRecord[] {
  return lineOf(log, commit)
    .reverse()
    .flatMap(({ steps }) => steps);
}
