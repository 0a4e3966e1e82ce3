import type { Manifest } from "../../core/format/manifest.js";
import type { FileDigest } from "../../infra/disk/file-digest.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { StageContext } from "../common/stage.js";
import type { LiveReference } from "../evaluate/evaluation.js";

/** A place that models are published to: it knows how one is live there, and where one goes that failed the gate. */
export interface PublishingPlace {
  /**
   * Small files beside published models by `<model>/<file>`, such as a signature. What is written is there at once, or comes with
   * the model when that is sent; then it lies in the stage's directory under its name.
   */
  readonly files: SmallFiles;
  /** The manifest of a model that is published under a name; null: there is none that can be read. */
  manifestOf(name: string): Promise<Manifest | null>;
  /**
   * Looks at what is live there, before hours of uploading. Throws UserError if it cannot be replaced, and ChangedInputError if it
   * is neither the model of this name nor the one that it was compared with.
   */
  checkLive(name: string, compared: Going["compared"]): Promise<void>;
  /**
   * The manifest to publish in place of `made`, which then lies in the stage's directory with its card: of a model that is
   * published already, or at this moment by another run, the first run's card stays. `claimed`: bytes of a card that was sent.
   */
  adopt(made: Manifest, directory: string, say: (note: string) => void): Promise<{ readonly manifest: Manifest; readonly claimed: number }>;
  /**
   * Sends what is missing of a model, so that nobody ever sees a part of it; one that opens the gate is live then, unless a
   * later one already is. Throws ChangedInputError as `checkLive` does. Null: another run published the same model meanwhile, and its manifest has to be adopted.
   */
  send(model: PublishedModel, going: Going, directory: string, context: StageContext): Promise<Sent | null>;
  /** What the place itself says of published files, by `<model>/<file>`, without reading them; it changes with their bytes. Null: gone. */
  seals(keys: readonly string[]): Promise<Readonly<Record<string, string | null>>>;
}

/** The calls of a store that small files need. */
export type SmallFiles = Pick<ObjectStore, "uri" | "read" | "create" | "replace">;

/** Whether a model may be live. */
export interface Going {
  /** the gate was passed, or a person has overridden it */
  readonly opens: boolean;
  /** the live model that it was compared with, which must be live still; null: it was compared with none, or with one that the configuration names */
  readonly compared: LiveReference | null;
}

/** A model that is put together: where each of its files lies on this machine, and digests that are known, by the hex of the whole's. */
export interface PublishedModel {
  readonly manifest: Manifest;
  readonly paths: ReadonlyMap<string, string>;
  readonly digests: ReadonlyMap<string, FileDigest>;
}

/** What came of sending. */
export interface Sent {
  /** the published model's address; a file's has a slash and its name after it */
  readonly uri: string;
  /** bytes of the model, and of those that were sent */
  readonly bytes: number;
  readonly sent: number;
  /** whether it is what is live now */
  readonly live: boolean;
}
