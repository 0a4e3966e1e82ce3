import type { TokenRow } from "../core/rows/token-rows.js";
import type { Sampling } from "../core/generation/sampling.js";

/** How well a model predicts rows: the sum of -log p over their labels, in nats, and how many labels there are. */
export interface Score {
  readonly nll: number;
  readonly labels: number;
  /** the sum of each row */
  readonly rows: readonly number[];
}

/** How several prompts are gone on with; what is absent is as in `GREEDY`. */
export interface GenerationOptions extends Partial<Sampling> {
  /** absent: up to the model's last position */
  readonly maxNewTokens?: number;
  /** before so many, no token ends an answer */
  readonly minNewTokens?: number;
  /** numbers by which sequences draw, so that one draws the same in another batch; absent: their places among the prompts */
  readonly streams?: readonly number[];
}

/** A new token of the prompt at place `sequence`. */
export interface GeneratedToken {
  readonly sequence: number;
  readonly token: number;
}

/** As `GenerationOptions`, with the caller's own end of answers. */
export interface GenerateOptions extends GenerationOptions {
  /** is asked once for each token: true ends the sequence after it */
  readonly isLast?: (said: GeneratedToken) => boolean;
}

/** A model that scores and generates off the caller's thread, one call at a time; what computes is an engine's business. */
export interface InferenceModel {
  score(rows: readonly TokenRow[]): Promise<Score>;
  /**
   * Goes on with prompts of one token or more, all at a time, token by token; a sequence ends before a token that ends an answer,
   * after enough tokens, or with the one that follows the last position. What a sequence gets does not depend on the others. Throws
   * UserError for a prompt that is empty or longer than the model's positions.
   */
  generate(prompts: readonly (readonly number[])[], options?: GenerateOptions): AsyncGenerator<GeneratedToken>;
  close(): Promise<void>;
}
