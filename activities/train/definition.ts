import { ENGINE_VERSIONS } from "../../core/config/engines.js";
import type { StageDefinition } from "../common/definition.js";

/** What the trained bits depend on: not how often they are saved, nor on how many workers, nor where the state is kept. */
export const trainDefinition: StageDefinition<"train"> = {
  name: "train",
  version: 8,
  inputs: ["model", "tokens"],
  settings: ({ train }) => {
    const {
      checkpointEverySteps: _steps,
      checkpointEveryMinutes: _minutes,
      keepCheckpoints: _keep,
      workers: _workers,
      offload: _offload,
      precision,
      ...decisive
    } = train;
    // what was trained before there was a choice keeps its key
    return { ...decisive, ...(precision !== "fp32" && { precision }), engineVersion: ENGINE_VERSIONS[train.engine] };
  },
};
