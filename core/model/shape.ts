/** What the models of all families have; a family's own shape adds to it. */
export interface ModelShape {
  /** config.json's `model_type`: the family */
  readonly type: string;
  readonly layers: number;
  readonly heads: number;
  /** D, the model's width */
  readonly width: number;
  /** V, the number of words */
  readonly vocabulary: number;
  /** tokens of the longest row */
  readonly positions: number;
  readonly bosTokenId: number;
  /** each ends an answer; the first one pads rows; empty: there is none */
  readonly eosTokenIds: readonly number[];
}
