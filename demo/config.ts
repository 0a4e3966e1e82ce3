import { DEMO_SOURCES } from "./assets.js";

/** A RunConfig input with the fields that the demo sets. */
export interface DemoConfig {
  readonly model: { readonly source: string };
  readonly dataset: { readonly source: string };
  readonly preprocess: { readonly maxLength: number; readonly testRows: number };
  readonly train: Readonly<Record<string, number | string>>;
  readonly evaluate: { readonly generateSamples: number; readonly references: number };
}

/** Steps over a user's rows of about 150 tokens each: two cores take a minute and a half. */
const GIVEN_DATASET_STEPS = 40;
/** Learning rate for a user's model: the high rate for the demo's fresh model would wipe out what this one has learned. */
const GIVEN_MODEL_RATE = 1e-4;

/**
 * The demo's run: its model learns its questions in four epochs, in less than a minute on two cores. `given`: what the user
 * provides instead.
 */
export function demoConfig(given: { readonly dataset: boolean; readonly model: boolean } = { dataset: false, model: false }): DemoConfig {
  return {
    model: { source: DEMO_SOURCES.model },
    dataset: { source: DEMO_SOURCES.dataset },
    preprocess: { maxLength: 256, testRows: 64 },
    train: {
      microBatch: 4,
      epochs: 4,
      ...(given.dataset ? { maxSteps: GIVEN_DATASET_STEPS } : {}),
      learningRate: given.model ? GIVEN_MODEL_RATE : 5e-3,
      schedule: "linear",
      warmupSteps: 5,
      checkpointEverySteps: 20,
      evalEverySteps: 20,
    },
    evaluate: { generateSamples: 4, references: given.model ? 0 : 16 },
  };
}
