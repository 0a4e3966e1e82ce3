import type { Manifest } from "../../core/format/manifest.js";
import type { FileDigest } from "../../infra/disk/file-digest.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { LiveReference } from "../evaluate/evaluation.js";
import type { StageContext } from "../common/stage.js";

/** A place that models are published to: it knows how one is live there, and where one goes that failed the gate. */
export interface PublishingPlace {
  /**
   * Small files of published models by `<model>/<file>`, such as a manifest. What is written is there at once, or comes with the
   * model when that is sent; then it lies in the stage's directory under its name.
   */
  readonly files: SmallFiles;
  /**
   * Throws UserError if what is live there cannot be replaced by the model of this name, and ChangedInputError if it is not the
   * one that the model was compared with: before hours of uploading.
   */
  checkLive(name: string, live: LiveReference | null): Promise<void>;
  /**
   * The manifest to publish in place of `made`, which then lies in the stage's directory with its card: of a model that is
   * published already, or at this moment by another run, the first run's card stays. `claimed`: bytes of a card that was sent.
   */
  adopt(made: Manifest, directory: string, say: (note: string) => void): Promise<{ readonly manifest: Manifest; readonly claimed: number }>;
  /**
   * Sends what is missing of a model, so that nobody ever sees a part of it; then the model is live, if it may be and
   * no later one already is. Null: another run published the same model meanwhile, and its manifest has to be adopted.
   */
  send(model: PublishedModel, verdict: Verdict, directory: string, context: StageContext): Promise<Sent | null>;
  /** What the place itself says of published files, by `<model>/<file>`, without reading them; it changes with their bytes. Null: gone. */
  seals(keys: readonly string[]): Promise<Readonly<Record<string, string | null>>>;
}

/** Whether a model may be live. */
export interface Verdict {
  /** why it may not, such as "the gate was not passed"; null: it may */
  readonly closed: string | null;
  /** what it was compared with, which must be live still; null: nothing, or what the configuration names */
  readonly live: LiveReference | null;
}

/** The calls of a store that small files need. */
export type SmallFiles = Pick<ObjectStore, "uri" | "read" | "create" | "replace">;

/** A model that is put together: where each of its files lies on this machine, and digests that are known, by the hex of the whole's. */
export interface PublishedModel {
  readonly manifest: Manifest;
  readonly paths: ReadonlyMap<string, string>;
  readonly digests: ReadonlyMap<string, FileDigest>;
  /** names of small files that are not in the manifest and are published with it: its signatures, which lie in the stage's directory */
  readonly beside: readonly string[];
}

/** What came of sending. */
export interface Sent {
  /** the published model's address; a file's has a slash and its name after it */
  readonly uri: string;
  /** bytes of the model */
  readonly bytes: number;
  /** bytes of it that were sent now */
  readonly sent: number;
  /** whether it is what is live now */
  readonly live: boolean;
}
