import type { EngineName } from "../../core/config/engines.js";
import type { Machine, TrainingEngine } from "../../engines/engine.js";
import type { SharedFiles, Sharing } from "../../infra/sources/shared-files.js";
import type { ObjectStore } from "../../infra/store/store.js";

/** The places that training works with. */
export interface TrainDeps {
  /** by the names that `train.engine` may have */
  readonly engines: Readonly<Record<EngineName, TrainingEngine>>;
  readonly machine: Machine;
  /** a shell's line for a program that is told each step's figures; null or absent: none */
  readonly metricsCommand?: string | null;
  /** the store of the commit log, in a stage's directory */
  readonly openStore: (directory: string) => ObjectStore;
  /** what machines share below a prefix ("": none) of an address as in `train.workers.store` */
  readonly openShared: (store: string, prefix: string, sharing: Sharing) => SharedFiles;
}
