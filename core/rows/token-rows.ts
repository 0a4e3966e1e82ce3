/** One tokenized row. */
export interface TokenRow {
  /** 0-based index in the source file */
  readonly source: number;
  /** [length] token ids */
  readonly inputIds: Int32Array;
  /** [length] token ids, not shifted; -100 carries no loss */
  readonly labels: Int32Array;
}

/** A split's rows in source order, read at random. */
export interface TokenSplit {
  readonly count: number;
  /** Row `index` of the split, 0 ≤ index < count; views, not copies. */
  row(index: number): TokenRow;
}

/** The label that carries no loss. */
export const IGNORED = -100;
