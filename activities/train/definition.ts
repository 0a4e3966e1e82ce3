import { isDeepStrictEqual } from "node:util";
import { ENGINE_VERSIONS } from "../../core/config/engines.js";
import { loraOf } from "../../core/config/schema.js";
import type { Computing } from "../../core/stages/metrics.js";
import type { KeyParts, StageDefinition } from "../common/definition.js";

/** What the trained bits depend on: not how often they are saved, nor on how many workers, nor where the state is kept. */
export const trainDefinition: StageDefinition<"train"> = {
  name: "train",
  version: 8,
  inputs: ["model", "tokens"],
  settings: ({ train }) => {
    const {
      checkpointEverySteps: _steps,
      checkpointEveryMinutes: _minutes,
      evalEverySteps: _evaluations,
      keepCheckpoints: _keep,
      workers: _workers,
      offload: _offload,
      precision,
      lora: _lora,
      ...decisive
    } = train;
    const lora = loraOf(train);
    // what was trained before there was a choice keeps its key
    return {
      ...decisive,
      ...(lora !== null && { lora }),
      ...(precision !== "fp32" && { precision }),
      engineVersion: ENGINE_VERSIONS[train.engine],
    };
  },
};

/**
 * The settings that say how steps are computed, and not which steps, with what their absence means. A training that was
 * begun under others is the same job: its checkpoints are gone on from, with other bits.
 */
const COMPUTING: Computing = { engine: "onnx", engineVersion: "", precision: "fp32" };

/** How a training's steps are computed. */
export function computingOf({ settings }: KeyParts): Computing {
  const given = new Map(Object.entries(settings ?? {}));
  return Object.fromEntries(Object.entries(COMPUTING).map(([name, absent]) => [name, String(given.get(name) ?? absent)]));
}

/** Whether two trainings do the same steps on the same inputs, however they compute them. */
export function isSameJob(one: KeyParts, other: KeyParts): boolean {
  return isDeepStrictEqual(jobOf(one), jobOf(other));
}

/** In the form in which records are read, because a field that is undefined is not in them. */
function jobOf({ stage, version, inputs, settings }: KeyParts): unknown {
  const job = Object.fromEntries(Object.entries(settings ?? {}).filter(([name]) => !(name in COMPUTING)));
  return JSON.parse(JSON.stringify({ stage, version, inputs, job }));
}
