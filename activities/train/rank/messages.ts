import type { Directive, StepEnd } from "../../../engines/engine.js";
import type { Fingerprint, ShardFile } from "../log/entries.js";

/** What the ranks of an attempt say to each other: one union for each direction. */

/** Said every second in both directions: the process lives, whatever its computing or its disk does. */
interface Alive {
  readonly kind: "alive";
}

/** From a rank to the coordinator, which hears its own as well. */
export type ToCoordinator =
  | Alive
  /** what the first rank's computing says to the others' */
  | { readonly kind: "tell"; readonly word: unknown }
  /** what this rank begins with is on its machine */
  | { readonly kind: "fetched"; readonly fingerprint: Fingerprint }
  | { readonly kind: "arrive"; readonly barrier: number; readonly end?: StepEnd; readonly evaluates?: true }
  /** a shard's part of a checkpoint is written */
  | { readonly kind: "shard"; readonly stepsDone: number; readonly updates: number; readonly file: ShardFile }
  /** this rank was asked to stop */
  | { readonly kind: "stop" }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

/** From the coordinator to all ranks, its own included. */
export type ToAll =
  | Alive
  /** what the ranks share is made: computing may start */
  | { readonly kind: "ready" }
  /** what the first rank's computing says to the others' */
  | { readonly kind: "tell"; readonly word: unknown }
  | { readonly kind: "release"; readonly barrier: number; readonly directive: Directive }
  | { readonly kind: "committed"; readonly stepsDone: number }
  /** the attempt ends without what is not committed */
  | { readonly kind: "over"; readonly name: string; readonly message: string };
