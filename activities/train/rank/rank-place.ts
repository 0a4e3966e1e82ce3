import { basename, dirname } from "node:path";
import { networkPlace, socketPlace, type MeetingPlace } from "../../../infra/process/meeting-place.js";
import { readAll } from "../../../infra/store/store.js";
import { localArtifacts } from "../../common/shared-artifacts.js";
import type { TrainDeps } from "../deps.js";
import type { CheckpointEntry, TrainAttempt } from "../log/entries.js";
import { trainingPlace, type TrainingPlace } from "../log/training-place.js";

/** Where a rank of an attempt is, and what it has to bring to its machine before it can compute. */

const LOOPBACK = "127.0.0.1";

/** How a rank's work with the store that machines share is watched. */
interface Watch {
  /** aborted when the rank has ended: a request to stop saves first */
  readonly signal: AbortSignal;
  say(note: string): void;
}

/** A rank's place among those of its attempt. */
export class RankPlacement {
  readonly place: TrainingPlace;
  private readonly deps: Pick<TrainDeps, "openStore" | "openShared">;
  private readonly attempt: TrainAttempt;
  private readonly worker: number;
  private readonly watch: Watch;

  constructor(deps: Pick<TrainDeps, "openStore" | "openShared">, attempt: TrainAttempt, worker: number, watch: Watch) {
    this.deps = deps;
    this.attempt = attempt;
    this.worker = worker;
    this.watch = watch;
    const { signal, say: onNote } = watch;
    this.place = trainingPlace(deps, attempt.directory, attempt.config.train, { signal, onNote });
  }

  /** Whether another rank is on another machine than the first one, where the attempt was begun. */
  isAway(worker: number): boolean {
    const { places } = this.attempt;
    return places !== undefined && places[worker]!.host !== places[0]!.host;
  }

  /** Whether this rank is the first of those of its machine. */
  get leadsMachine(): boolean {
    const { places } = this.attempt;
    return (places ?? []).findIndex(({ host }) => host === places![this.worker]!.host) === this.worker;
  }

  /** IP address at which the other ranks reach this one's machine. */
  get address(): string {
    return this.spansMachines ? this.attempt.places![this.worker]!.address : LOOPBACK;
  }

  /** Where the ranks meet. */
  meeting(): MeetingPlace {
    const { generation, socketPath } = this.attempt;
    if (!this.spansMachines || this.place.shared === null) return socketPlace(socketPath);
    const { store } = this.place.shared;
    const key = `meetings/g${String(generation).padStart(6, "0")}.json`;
    return networkPlace(this.address, {
      name: key,
      read: () => readAll(store, key),
      write: (bytes) => store.write(key, bytes),
      remove: () => store.delete(key),
    });
  }

  /** The attempt as this machine sees it: what an earlier machine's disk holds is brought here. `resume`: the checkpoint to go on from. */
  async bring(resume: CheckpointEntry | null): Promise<TrainAttempt> {
    const { attempt, deps, watch } = this;
    const { store } = attempt.config.train.workers;
    if (store === null || !this.isAway(this.worker)) return attempt;
    const root = dirname(dirname(attempt.directory));
    const onNote = (note: string): void => watch.say(note);
    const sharing = { signal: watch.signal, onNote, onBytes: () => undefined, journals: `${root}/shared/uploads` };
    const inputs = await localArtifacts(deps.openShared(store, "", sharing), root, attempt.inputs);
    await this.place.bringShards(resume?.shards ?? []);
    return { ...attempt, inputs };
  }

  private get spansMachines(): boolean {
    return this.attempt.places?.some((_, worker) => this.isAway(worker)) ?? false;
  }
}

/** An attempt that another machine began, as one whose stages work below `root` has it. */
export function attemptBelow(root: string, attempt: TrainAttempt): TrainAttempt {
  return { ...attempt, directory: `${root}/train/${basename(attempt.directory)}` };
}
