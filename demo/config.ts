import { DEMO_SOURCES } from "./assets.js";

/** A RunConfig input, of the fields that the demo sets. */
export interface DemoConfig {
  readonly model: { readonly source: string };
  readonly dataset: { readonly source: string };
  readonly preprocess: { readonly maxLength: number; readonly testRows: number };
  readonly train: Readonly<Record<string, number | string>>;
  readonly evaluate: { readonly generateSamples: number };
}

/** Steps over a user's rows, some 150 tokens each, that two cores take in a minute and a half. */
const OWN_DATASET_STEPS = 40;
/** A user's model has learned something that the high rate for the demo's fresh one would wipe out. */
const OWN_MODEL_RATE = 1e-4;

/** What the demo runs: its own model learns its own questions, four times over, in less than a minute on two cores. */
export function demoConfig(own: { readonly dataset: boolean; readonly model: boolean } = { dataset: false, model: false }): DemoConfig {
  return {
    model: { source: DEMO_SOURCES.model },
    dataset: { source: DEMO_SOURCES.dataset },
    preprocess: { maxLength: 256, testRows: 64 },
    train: {
      microBatch: 4,
      epochs: 4,
      ...(own.dataset ? { maxSteps: OWN_DATASET_STEPS } : {}),
      learningRate: own.model ? OWN_MODEL_RATE : 5e-3,
      schedule: "linear",
      warmupSteps: 5,
      checkpointEverySteps: 20,
    },
    evaluate: { generateSamples: 4 },
  };
}
