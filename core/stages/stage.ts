/** The words in which stages, activities, the workflow and the command line speak of a stage's work. */

/** The stages, in the order of a run. */
export const STAGES = ["download", "preprocess", "train", "evaluate", "publish"] as const;
/** One of the stages. */
export type StageName = (typeof STAGES)[number];

/** A reference to bytes that lie in a store: what travels through Temporal instead of them. */
export interface Artifact {
  /** what it is to the next stage: "model", "dataset", "tokens", … */
  readonly name: string;
  /** `file:///…` or `s3://…` */
  readonly uri: string;
  /** of the file; of a directory, that of its sorted list of names and digests */
  readonly sha256: string;
  readonly bytes: number;
  /** of what a download brought: where it came from */
  readonly origin?: Origin;
}

/** Where an input came from, at one version. */
export interface Origin {
  /** `hf://owner/name@commit`, `s3://bucket/prefix`, or the name alone of a model published on this machine */
  readonly uri: string;
  /** of a model that Roslin published: the SHA-256 of its manifest, with which its own chain of digests begins */
  readonly manifest?: string;
}

/** A stage's figures. */
export type Metrics = Readonly<Record<string, unknown>> & { readonly seconds: number };

/** What a stage leaves: `roslin stage NAME --json` prints it, and the next stage takes its outputs. */
export interface StageResult {
  readonly stage: StageName;
  /** true: nothing had changed, nothing was done */
  readonly reused: boolean;
  readonly outputs: readonly Artifact[];
  readonly metrics: Metrics;
  /** training only: see `stateDigest` in the design's contracts */
  readonly stateDigest?: string;
}

/** How far a stage is; also the details of its heartbeats, so it stays small and holds no NaN. */
export interface Progress {
  readonly stage: StageName;
  readonly done: number;
  readonly total: number;
  readonly unit: "bytes" | "rows" | "steps" | "items";
  /** a few words: "waiting for …", a file's name */
  readonly note?: string;
  /** the note must not be passed over, however soon the next word comes */
  readonly lasting?: true;
  readonly loss?: number;
  readonly tokensPerSecond?: number;
}

/** The output named `name`; its absence is a mistake of ours. */
export function outputNamed(outputs: readonly Artifact[], name: string): Artifact {
  const found = outputs.find((output) => output.name === name);
  if (found === undefined) throw new Error(`no output is named ${name} [got=${outputs.map((output) => output.name).join(" ")}]`);
  return found;
}

/** The outputs of the stages so far, as the next one's inputs; the trained model is the later stages' "tuned". */
export function inputsFrom(results: readonly StageResult[]): Artifact[] {
  return results.flatMap(({ stage, outputs }) =>
    outputs.map((output) => (stage === "train" && output.name === "model" ? { ...output, name: "tuned" } : output)),
  );
}
