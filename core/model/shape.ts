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
  /** null: there is none */
  readonly bosTokenId: number | null;
  /** each ends an answer; the first one pads rows; empty: there is none */
  readonly eosTokenIds: readonly number[];
  /** shares above 0 that are dropped while training elsewhere, by their names in config.json; absent when there are none */
  readonly dropout?: Readonly<Record<string, number>>;
}

/** What is to be said of a model whose config asks for dropout; null when it does not. */
export function dropoutNote({ dropout }: Pick<ModelShape, "dropout">): string | null {
  if (dropout === undefined) return null;
  const fields = Object.entries(dropout).map(([field, share]) => `${field} ${share}`);
  return `the base's config asks for dropout (${fields.join(", ")}): training goes without it, because a run must come to the same bytes again; the tuned model's config keeps the values`;
}
