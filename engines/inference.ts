import type { TokenRow } from "../core/rows/token-rows.js";

/** How well a model predicts rows: the sum of -log p over their labels, in nats, and how many labels there are. */
export interface Score {
  readonly nll: number;
  readonly labels: number;
  /** the sum of each row */
  readonly rows: readonly number[];
}

/** A model that scores and generates off the caller's thread, one call at a time; what computes is an engine's business. */
export interface InferenceModel {
  score(rows: readonly TokenRow[]): Promise<Score>;
  /** The likeliest tokens after a prompt of one token or more; ends at a token that ends an answer or the last position. */
  generate(prompt: readonly number[]): AsyncGenerator<number>;
  close(): Promise<void>;
}
