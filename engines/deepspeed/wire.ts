import type { AdapterModule } from "../../core/model/family.js";
import type { Directive, Resume, TrainSettings } from "../engine.js";

/** The lines between a rank and the Python process that computes for it, one JSON object each: see rank/wire.py. */

/** A parameter by its canonical name, which is transformers' own. */
export interface WireParameter {
  readonly name: string;
  readonly shape: readonly number[];
}

/** An adapter, and what draws its dropout: its layer, and the index of its module in a block. */
export type WireAdapter = AdapterModule & { readonly layer: number; readonly index: number };

/** What is kept elsewhere than where it is computed with; `directory`: where this rank's files on NVMe go. */
export type WireOffload = Pick<TrainSettings["offload"], "optimizer" | "parameters"> & { readonly directory: string };

/** What the process is to do. */
export interface BeginOrder {
  readonly kind: "begin";
  readonly rank: number;
  readonly ranks: number;
  readonly shards: number;
  /** directory of the base model, and its files of weights, from which frozen parameters are read */
  readonly model: string;
  readonly files: readonly string[];
  readonly parameters: readonly (WireParameter & { readonly frozen: boolean })[];
  /** files from which a fresh run reads the parameters that are trained */
  readonly initial: readonly string[];
  /** of a base that is frozen; none: the base itself is trained */
  readonly adapters: readonly WireAdapter[];
  readonly dropout: { readonly share: number; readonly seed: number };
  /** the model's width, which decides how much is reduced at once */
  readonly width: number;
  readonly resume: Resume | null;
  readonly resumeStep: number;
  readonly totalSteps: number;
  /** this machine's, and the network interface that has it */
  readonly address: string;
  readonly interface: string;
  /** how long a collective on CPUs waits for a rank that does not answer */
  readonly timeoutSeconds: number;
  readonly precision: TrainSettings["precision"];
  readonly offload: WireOffload;
  readonly keepActivations: boolean;
  readonly betas: readonly number[];
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly maxGradNorm: number;
}

/** The rows of one shard in one pass; null: this rank has none in it. */
export type WirePass = {
  readonly shard: number;
  readonly rows: readonly { readonly source: number; readonly ids: readonly number[]; readonly labels: readonly number[] }[];
} | null;

/** A step, as this rank computes it. */
export interface StepOrder {
  readonly kind: "step";
  /** its index, 0-based */
  readonly step: number;
  readonly rate: number;
  /** of the whole step, over all ranks; 0: nothing is computed */
  readonly labels: number;
  /** as many on every rank */
  readonly passes: readonly WirePass[];
  /** after it the loss on the test rows is measured */
  readonly evaluates: boolean;
}

/** Test rows, as this rank computes them: as many passes on every rank. */
export interface EvaluateOrder {
  readonly kind: "evaluate";
  /** of all test rows, over all ranks and orders */
  readonly labels: number;
  readonly passes: readonly WirePass[];
  /** no more follow */
  readonly last: boolean;
}

/** From the rank. A step follows the release before it. */
export type Order =
  | BeginOrder
  | StepOrder
  /** after the release before them */
  | EvaluateOrder
  /** not to the first rank: the word of the first rank's process */
  | { readonly kind: "meet"; readonly word: unknown }
  | { readonly kind: "release"; readonly barrier: number; readonly directive: Directive };

/** From the process. */
export type Word =
  /** every second once its libraries are loaded, whatever it does */
  | { readonly kind: "alive" }
  | { readonly kind: "moved" }
  /** the first rank's alone: where the others find it */
  | { readonly kind: "meet"; readonly word: unknown }
  | { readonly kind: "arrive"; readonly barrier: number; readonly end?: WireEnd; readonly evaluates?: true }
  /** the numbers of these tensors follow on a pipe of their own, in this order */
  | {
      readonly kind: "shard";
      readonly stepsDone: number;
      readonly updates: number;
      readonly shard: number;
      readonly tensors: readonly WireParameter[];
    }
  | { readonly kind: "done"; readonly stepsDone: number; readonly status: "finished" | "stopped" }
  /** a step's loss or gradient is not finite, twice: in words, because JSON has no such numbers */
  | { readonly kind: "notFinite"; readonly step: number; readonly loss: string; readonly norm: string; readonly shards: readonly number[] }
  | { readonly kind: "failed"; readonly name: string; readonly message: string; readonly place: string };

/** The end of a step. */
interface WireEnd {
  readonly stepsDone: number;
  /** null: the step has no labels */
  readonly loss: number | null;
  readonly norm: number | null;
  /** null: the loss is not scaled */
  readonly lossScale: number | null;
  readonly seconds: number;
  readonly spent: Readonly<Record<string, number>>;
  /** on the test rows; null: it was not measured; its loss null: it is not finite */
  readonly evaluation: { readonly loss: number | null; readonly seconds: number } | null;
}
