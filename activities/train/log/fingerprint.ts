import type { TrainingEngine, TrainSettings } from "../../../engines/engine.js";
import { machineKind } from "../../../infra/process/machine.js";
import type { Fingerprint } from "./entries.js";

/** What the bits of a result depend on besides its inputs and settings: equal fingerprints promise equal bytes. */
export async function fingerprintOf(
  { name, version, libraries }: TrainingEngine,
  ranks: number,
  train: TrainSettings,
): Promise<Fingerprint> {
  return { ...machineKind(), engine: name, engineVersion: version, ...(await libraries(ranks, train)) };
}
