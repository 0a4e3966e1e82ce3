import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { RunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { sha256File, writeFileAtomic } from "../../../infra/disk/files.js";
import type { SharedFiles, Sharing } from "../../../infra/sources/shared-files.js";
import { readAll, type ObjectStore } from "../../../infra/store/store.js";
import type { TrainDeps } from "../deps.js";
import { lastGood, pruneShards, type Checkpoint } from "./checkpoint.js";
import { openLog, type CommitLog } from "./commit-log.js";
import type { ShardFile } from "./entries.js";
import { STEPS, stepsFileName } from "./steps-file.js";

/**
 * Where a training keeps what outlives its attempts: in the stage's directory, and where several machines may train it, in
 * the store that they share. That store has the commit log then; what lies in the directory are copies.
 */
export class TrainingPlace {
  readonly directory: string;
  /** null: this machine alone trains */
  readonly shared: SharedFiles | null;
  private readonly own: ObjectStore;

  constructor(directory: string, own: ObjectStore, shared: SharedFiles | null) {
    this.directory = directory;
    this.own = own;
    this.shared = shared;
  }

  /** What has the commit log. */
  get store(): ObjectStore {
    return this.shared?.store ?? this.own;
  }

  /** The commit log, up to a number. */
  log(upTo?: number): Promise<CommitLog> {
    return openLog(this.store, upTo);
  }

  /** Sends a file of the directory to the others. */
  async keep(file: string): Promise<void> {
    await this.shared?.put(file, join(this.directory, file));
  }

  /** As `lastGood`; in the store's case with the checkpoint's files brought here. */
  lastGood(log: CommitLog, signal: AbortSignal, say: (note: string, lasting?: true) => void): Promise<Checkpoint | null> {
    return lastGood(
      log,
      this.directory,
      (path) => sha256File(path, signal),
      say,
      (file) => this.bring(file),
    );
  }

  /** Sends an attempt's records of steps to the others, as they are now. */
  async keepSteps(generation: number): Promise<void> {
    const file = stepsFileName(generation);
    if (this.shared !== null) await this.shared.store.write(file, await readFile(join(this.directory, file)));
  }

  /** Brings the records of steps here that attempts on other machines left. */
  async bringSteps(): Promise<void> {
    for (const { key } of (await this.shared?.store.list(`${STEPS}/`)) ?? []) {
      const path = join(this.directory, key);
      const bytes = existsSync(path) ? null : await readAll(this.shared!.store, key);
      if (bytes !== null) await writeFileAtomic(path, bytes);
    }
  }

  /** As `pruneShards`, in the directory and in the store. */
  prune(log: CommitLog, keep: number, generation: number): Promise<void> {
    return pruneShards(log, this.directory, keep, generation, this.shared?.store);
  }

  /** Brings shards' files here. Throws UserError for one that is gone or damaged. */
  async bringShards(shards: readonly ShardFile[]): Promise<void> {
    await this.shared?.fetch(shards.map(({ file, bytes, sha256 }) => ({ key: file, path: join(this.directory, file), bytes, sha256 })));
  }

  /**
   * Brings a shard's file here. Resolves to why it cannot be had; null: it is here. Throws UserError where the store refuses
   * to give it, as with expired credentials: that says nothing about the checkpoint.
   */
  async bring(shard: ShardFile): Promise<string | null> {
    try {
      await this.bringShards([shard]);
      return null;
    } catch (error) {
      if (error instanceof UserError && (await this.isLost(shard))) return error.message;
      throw error;
    }
  }

  /** Whether the store lacks a shard's file, or has other bytes. */
  private async isLost({ file, bytes, sha256 }: ShardFile): Promise<boolean> {
    const { store } = this.shared!;
    if (!(await store.list(file)).some((object) => object.key === file && object.bytes === bytes)) return true;
    const hash = createHash("sha256");
    for await (const chunk of (await store.read(file)) ?? []) hash.update(chunk);
    return hash.digest("hex") !== sha256;
  }
}

/** The place of the training in a stage's directory, as its settings have it. */
export function trainingPlace(
  deps: Pick<TrainDeps, "openStore" | "openShared">,
  directory: string,
  { workers: { store } }: RunConfig["train"],
  watch: Pick<Sharing, "signal" | "onNote">,
): TrainingPlace {
  const sharing = { ...watch, journals: join(directory, "uploads"), onBytes: () => watch.onNote("") };
  const shared = store === null ? null : deps.openShared(store, basename(directory), sharing);
  return new TrainingPlace(directory, deps.openStore(directory), shared);
}
