import type { RunConfig } from "../../core/config/schema.js";
import type { ExportLimits } from "../../core/model/export.js";
import type { SignSettings } from "../../core/config/sign.js";
import type { HubRepository } from "../../infra/hub/hub-repository.js";
import type { Signer } from "../../infra/signing/keys.js";
import type { ObjectStore, TargetCheck } from "../../infra/store/store.js";

/** The places that publishing works with. */
export interface PublishDependencies {
  /** where a run is published that names no target: `s3://bucket/prefix`, `file:///directory` or `hf://owner/name` */
  defaultTarget(): string;
  /** infra's `openStore` with the settings of this place, and what `checkTarget` found out of one that is written to */
  openStore(uri: string, options: RunConfig["publish"], signal: AbortSignal, abilities?: TargetCheck["abilities"]): ObjectStore;
  /** The repository that `hf://owner/name` names: infra's `hubRepository` with the hub of this place. `onNote` hears why calls are made again. */
  openHub(target: string, signal: AbortSignal, onNote: (note: string) => void): HubRepository;
  /** A published model's files by its address, which may be on the hub at a revision, to be read. */
  openPublished(uri: string, options: RunConfig["publish"], signal: AbortSignal): Pick<ObjectStore, "read">;
  /** Throws UserError if objects cannot be written there, or cannot be kept in the way that is wanted: infra's `checkTarget`, or `checkHub`. */
  checkTarget(uri: string, wanted: RunConfig["publish"], signal: AbortSignal): Promise<TargetCheck>;
  /** Opens the key that a run signs with; throws UserError that names what is wrong with it. */
  openSigner(settings: SignSettings): Promise<Signer>;
  readonly exportLimits: ExportLimits;
}
