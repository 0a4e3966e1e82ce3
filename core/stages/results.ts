import type { Recorded, StageMetrics, Trimmed } from "./metrics.js";

/** The words in which stages, activities, the workflow and the command line speak of a stage's work. */

/** The stages, in the order of a run. */
export const STAGES = ["download", "preprocess", "train", "evaluate", "publish"] as const;
/** One of the stages. */
export type StageName = (typeof STAGES)[number];

/** What each stage leaves to later ones, by name: the only statement of it. Publishing leaves each file that it published as well. */
export const OUTPUTS = {
  download: ["model", "dataset"],
  preprocess: ["tokens"],
  train: ["tuned"],
  evaluate: ["report"],
  publish: ["published"],
} as const satisfies Readonly<Record<StageName, readonly string[]>>;
/** The name of what a stage leaves. */
export type OutputName = (typeof OUTPUTS)[StageName][number];

/** The stage that leaves an output. */
export function makerOf(name: OutputName): StageName {
  return STAGES.find((stage) => (OUTPUTS[stage] as readonly string[]).includes(name))!;
}

/** Outputs under their names of today: earlier versions called the tuned model "model", as its base, in results and in manifests. */
export function currentOutputs<Output extends { readonly name: string }>(stage: StageName, outputs: readonly Output[]): Output[] {
  return outputs.map((output) => (stage === "train" && output.name === "model" ? { ...output, name: "tuned" } : output));
}

/** A reference to bytes that lie in a store: what travels through Temporal instead of them. */
export interface Artifact {
  /** what it is to later stages, an OutputName; of a published file its path */
  readonly name: string;
  /** `file:///…` or `s3://…` */
  readonly uri: string;
  /** of the file; of a directory, that of its sorted list of names and digests */
  readonly sha256: string;
  readonly bytes: number;
  /** where a downloaded artifact came from */
  readonly origin?: Origin;
}

/** Where an input came from, at one version. */
export interface Origin {
  /** `hf://owner/name@commit`, `s3://bucket/prefix`, or just the name of a model that was published on this machine */
  readonly uri: string;
  /** SHA-256 of the manifest of a model that Roslin published; that model's own chain of digests begins there */
  readonly manifest?: string;
  /** the GGUF that the artifact was converted from, by its name there */
  readonly gguf?: { readonly file: string; readonly sha256: string };
  /** of an adapter, which lies beside it */
  readonly base?: BaseOrigin;
}

/** Where the base of an adapter came from, under a source that can be asked again where it is one; a base that lay on a machine has just a name. */
export interface BaseOrigin extends Omit<Origin, "base"> {
  /** of the base alone, because the artifact's digest is that of base and adapter together */
  readonly files: readonly { readonly name: string; readonly sha256: string }[];
}

interface ResultOf<Name extends StageName, Metrics> {
  readonly stage: Name;
  /** true: nothing had changed, nothing was done */
  readonly reused: boolean;
  readonly outputs: readonly Artifact[];
  readonly metrics: Metrics;
  /** of training: SHA-256 of each tensor's weights and moments in fp32, in byte order of their names, and of the step */
  readonly stateDigest?: string;
}

/** What a stage leaves: `roslin stage NAME --json` prints it, and the next stage takes its outputs. The stage's name says which figures it has. */
export type StageResult<Name extends StageName = StageName> = { [Each in Name]: ResultOf<Each, Recorded<StageMetrics[Each]>> }[Name];

/** A result as it travels through Temporal. */
export type SentResult<Name extends StageName = StageName> = {
  [Each in Name]: ResultOf<Each, Trimmed<Recorded<StageMetrics[Each]>>>;
}[Name];

/** One stage's result among those of a run; undefined if the run has none. */
export function resultNamed<Result extends { readonly stage: StageName }, Name extends StageName>(
  results: readonly Result[],
  name: Name,
): Extract<Result, { readonly stage: Name }> | undefined {
  return results.find((result): result is Extract<Result, { readonly stage: Name }> => result.stage === name);
}

/** How far a stage is; also the details of its heartbeats, so it stays small and holds no NaN. */
export interface Progress {
  /** "plan": what comes before the stages */
  readonly stage: StageName | "plan";
  readonly done: number;
  readonly total: number;
  readonly unit: "bytes" | "rows" | "steps" | "items";
  /** a few words: "waiting for …", a file's name */
  readonly note?: string;
  /** the note must be shown, however soon the next one comes */
  readonly lasting?: true;
  readonly loss?: number;
  /** the last one on the test rows */
  readonly evalLoss?: number;
  readonly tokensPerSecond?: number;
}

/** The output named `name`; throws Error if there is none, which is a mistake in Roslin. */
export function outputNamed(outputs: readonly Artifact[], name: string): Artifact {
  const found = outputs.find((output) => output.name === name);
  if (found === undefined) throw new Error(`no output is named ${name} [got=${outputs.map((output) => output.name).join(" ")}]`);
  return found;
}

/** The outputs of the stages so far, as the next one's inputs; a run that an earlier version began may hand on results of its own. */
export function inputsFrom(results: readonly Pick<SentResult, "stage" | "outputs">[]): Artifact[] {
  return results.flatMap(({ stage, outputs }) => currentOutputs(stage, outputs));
}
