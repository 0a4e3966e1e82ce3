import type { EngineName } from "../../core/training/engines.js";
import type { Machine, TrainingEngine } from "../../engines/engine.js";
import { artifactOf, writeFileAtomic } from "../../infra/disk/files.js";
import { lock } from "../../infra/disk/lock.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { StageFiles } from "../common/stage.js";

/** The places that training works with. */
export interface TrainDeps {
  /** by the names that `train.engine` may have */
  readonly engines: Readonly<Record<EngineName, TrainingEngine>>;
  readonly machine: Machine;
  /** the store of the commit log, in a stage's directory */
  readonly openStore: (directory: string) => ObjectStore;
}

/** What the stages' common functions take. */
export const FILES: StageFiles = { writeFileAtomic, lock, artifactOf };
