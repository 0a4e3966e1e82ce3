import { parseRunConfig, type RunConfig } from "../core/config/schema.js";
import { MADE_FAMILY, modelOf as modelOfConfig } from "../core/model/families.js";
import type { Model } from "../core/model/family.js";

/** What a bench trains: a model's shape, and its rows. */
export interface Job {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly rotary: number;
  readonly vocabulary: number;
  /** tokens of a row, and its labels; of a dataset's rows the most */
  readonly length: number;
  /** rows of one shard in one step */
  readonly rows: number;
  /** an Alpaca-format file; null: made rows, all of one length, that carry loss everywhere */
  readonly dataset: string | null;
}

/** The job that Roslin is compared with PyTorch on. */
export const DEFAULT_JOB: Job = { width: 512, layers: 8, heads: 8, rotary: 32, vocabulary: 50_400, length: 256, rows: 2, dataset: null };
/** What differs on a dataset's rows: they are batched as Dolly did. */
export const DATASET_JOB = { length: 1024, rows: 8 };

/** The job that engines are compared on: a model of the demo's shape, batched as the demo does. */
export const ENGINE_JOB: Job = { width: 128, layers: 2, heads: 4, rotary: 32, vocabulary: 50_400, length: 256, rows: 4, dataset: null };

/** Models for the table of memory, by millions of parameters. */
export const SIZES: Readonly<Record<string, Job>> = {
  5: { width: 192, layers: 4, heads: 4, rotary: 16, vocabulary: 8192, length: 64, rows: 1, dataset: null },
  25: { width: 384, layers: 7, heads: 6, rotary: 32, vocabulary: 16_384, length: 64, rows: 1, dataset: null },
  77: { ...DEFAULT_JOB, length: 64, rows: 1, dataset: null },
  150: { width: 768, layers: 10, heads: 12, rotary: 32, vocabulary: 50_400, length: 64, rows: 1, dataset: null },
  400: { width: 1024, layers: 24, heads: 16, rotary: 32, vocabulary: 50_400, length: 64, rows: 1, dataset: null },
};

/** The model. Throws UserError for a shape that its family can't have. */
export function modelOf({ width, layers, heads, rotary, vocabulary, length }: Job): Model {
  const size = { width, layers, heads, rotary, vocabulary, positions: length, bosTokenId: 0, eosTokenId: 0 };
  return modelOfConfig(MADE_FAMILY.configJson(size), "the bench's options");
}

/** Settings of so many steps, with a checkpoint after every `interval` of them. `seed` makes it another run. */
export function settings(job: Job, steps: number, interval: number, seed: number): RunConfig {
  return parseRunConfig({
    preprocess: { maxLength: job.length, testRows: 0 },
    train: {
      microBatch: job.rows,
      // as often through a dataset's rows as the steps need
      epochs: steps,
      maxSteps: steps,
      checkpointEverySteps: interval,
      checkpointEveryMinutes: 1e6,
      // all are kept: their files tell when they were written
      keepCheckpoints: Math.floor(steps / interval) + 1,
      seed,
    },
  });
}
