import type { RunConfig } from "../../core/config/schema.js";
import type { ExportLimits } from "../../core/model/export.js";
import type { SignSettings } from "../../core/config/sign.js";
import type { Signer } from "../../infra/signing/keys.js";
import type { ObjectStore, TargetCheck } from "../../infra/store/store.js";

/** The places that publishing works with. */
export interface PublishDependencies {
  /** where a run is published that names no target: `s3://bucket/prefix` or `file:///directory` */
  defaultTarget(): string;
  /** infra's `openStore` with the settings of this place, and what `checkTarget` found out of one that is written to */
  openStore(uri: string, options: RunConfig["publish"], signal: AbortSignal, abilities?: TargetCheck["abilities"]): ObjectStore;
  /** Throws UserError if objects cannot be written there, or cannot be kept in the way that is wanted: infra's `checkTarget`. */
  checkTarget(uri: string, wanted: RunConfig["publish"], signal: AbortSignal): Promise<TargetCheck>;
  /** Opens the key that a run signs with; throws UserError that names what is wrong with it. */
  openSigner(settings: SignSettings): Promise<Signer>;
  readonly exportLimits: ExportLimits;
}
