import { DEMO_SOURCES } from "./assets.js";

/** A RunConfig input, of the fields that the demo sets. */
export interface DemoConfig {
  readonly model: { readonly source: string };
  readonly dataset: { readonly source: string };
  readonly preprocess: { readonly maxLength: number; readonly testRows: number };
  readonly train: Readonly<Record<string, number | string>>;
  readonly evaluate: { readonly generateSamples: number };
}

/** What the demo runs: its own model learns its own questions, one epoch and a half, in about a minute on two cores. */
export function demoConfig(): DemoConfig {
  return {
    model: { source: DEMO_SOURCES.model },
    dataset: { source: DEMO_SOURCES.dataset },
    preprocess: { maxLength: 256, testRows: 64 },
    train: { microBatch: 4, epochs: 3, maxSteps: 160, learningRate: 5e-3, schedule: "linear", warmupSteps: 5, checkpointEverySteps: 20 },
    evaluate: { generateSamples: 4 },
  };
}
