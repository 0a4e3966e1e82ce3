import type { EngineName } from "../../core/config/engines.js";
import type { Machine, TrainingEngine } from "../../engines/engine.js";
import type { ObjectStore } from "../../infra/store/store.js";

/** The places that training works with. */
export interface TrainDeps {
  /** by the names that `train.engine` may have */
  readonly engines: Readonly<Record<EngineName, TrainingEngine>>;
  readonly machine: Machine;
  /** the store of the commit log, in a stage's directory */
  readonly openStore: (directory: string) => ObjectStore;
}
