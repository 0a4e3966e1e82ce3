/** What a run's own records say of training's time: what counted, what failures cost, and that they changed nothing. */

/** Between two attempts. */
export interface Interruption {
  /** the attempt that ended, by its number in the commit log */
  readonly attempt: number;
  /** false: all was saved before it, as for a pause */
  readonly failure: boolean;
  /** in our own words */
  readonly what: string;
  /** steps done and kept */
  readonly afterStep: number;
  /** from the end of the last kept step to the beginning of the next attempt's first step, or to that attempt where it came to none */
  readonly seconds: number;
  /** steps that had to be done again */
  readonly stepsLost: number;
}

/** What was compared of what was done more than once. */
export interface Proof {
  /** repetitions of steps; where a repetition and an earlier one ran on the same kind of machine they are compared */
  readonly repeated: number;
  /** of these, with the same loss and gradient norm to the last bit */
  readonly equal: number;
  /** the step of each repetition that differed */
  readonly different: readonly number[];
  /** checkpoints that were made again because they were damaged, and those of them whose shards have the same SHA-256 */
  readonly checkpoints: number;
  readonly checkpointsEqual: number;
}

/** The time of training, from the first attempt to the commit of the last step; the parts add up to the whole. */
export interface LedgerTimes {
  readonly wallSeconds: number;
  /** from each attempt's first step to the last one that it kept, checkpoints included */
  readonly usefulSeconds: number;
  /** until the first attempt's first step */
  readonly startSeconds: number;
  /** from the last step to its commit */
  readonly saveSeconds: number;
  /** all failures' */
  readonly lostSeconds: number;
  /** all stops' that had saved: pauses, shutdowns, planned ends */
  readonly stoppedSeconds: number;
  readonly steps: number;
  readonly stepsRepeated: number;
  readonly failures: number;
}

/** A run's ledger. */
export interface Ledger extends LedgerTimes {
  readonly interruptions: readonly Interruption[];
  readonly proof: Proof;
}
