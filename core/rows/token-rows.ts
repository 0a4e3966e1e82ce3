/** One tokenized row. */
export interface TokenRow {
  /** 0-based index in the source file */
  readonly source: number;
  /** [length] token ids */
  readonly inputIds: Int32Array;
  /** [length] token ids, not shifted; -100 carries no loss. One more than `inputIds` may follow: it is predicted, and not computed on. */
  readonly labels: Int32Array;
  /** so many first tokens are those of the last row before that has no such number, and are computed once for both */
  readonly shared?: number;
}

/** A split's rows in source order, read at random. */
export interface TokenSplit {
  readonly count: number;
  /** Row `index` of the split, 0 ≤ index < count; views, not copies. */
  row(index: number): TokenRow;
}

/** The label that carries no loss. */
export const IGNORED = -100;
