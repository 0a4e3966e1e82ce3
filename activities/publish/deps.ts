import type { RunConfig } from "../../core/config/schema.js";
import type { ExportLimits } from "../../core/model/export.js";
import type { ModelFiles } from "../../infra/weights/model-files.js";
import type { FileDigest } from "../../infra/store/file-digest.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { StageFiles } from "../common/stage.js";

/** What publishing is handed. */
export interface PublishDependencies {
  readonly files: StageFiles;
  /** where a run is published that names no target: `s3://bucket/prefix` or `file:///directory` */
  defaultTarget(): string;
  /** infra's `openStore` with the settings of this place */
  openStore(uri: string, options: RunConfig["publish"], signal: AbortSignal): ObjectStore;
  /** Throws UserError when objects cannot be written there, or not kept as is wanted: infra's `checkTarget`. */
  checkTarget(uri: string, wanted: RunConfig["publish"], signal: AbortSignal): Promise<void>;
  /** infra's `readAll` */
  readAll(store: ObjectStore, key: string): Promise<Uint8Array | null>;
  openModel(directory: string): ModelFiles;
  readonly exportLimits: ExportLimits;
  sha256(bytes: Uint8Array | string): string;
  digestFile(path: string, signal?: AbortSignal): Promise<FileDigest>;
  listFiles(directory: string): Promise<string[]>;
  directoryDigest(files: readonly { readonly name: string; readonly sha256: string }[]): string;
}
