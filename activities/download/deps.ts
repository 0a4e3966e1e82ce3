import type { StageFiles } from "../common/stage.js";
import type { Places } from "./source-plan.js";

/** What downloading is handed. */
export interface DownloadDependencies extends Places {
  readonly files: StageFiles;
  /** infra's */
  sha256File(path: string, signal?: AbortSignal): Promise<string>;
  /** infra's `directoryDigest` */
  directoryDigest(files: readonly { readonly name: string; readonly sha256: string }[]): string;
  /** Throws UserError or CorruptError unless the directory holds a whole model: infra's `ModelFiles`. */
  checkModel(directory: string): void;
}
