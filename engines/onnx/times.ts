/** Seconds of a step that a rank's compute thread spent on each; what is missing to the whole went into copies. */
export type TimeSpent = {
  graphs: number;
  /** at barriers, for the other ranks */
  waiting: number;
  reduction: number;
  optimizer: number;
};
