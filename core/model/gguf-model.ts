import type { GgufFields } from "../format/gguf-fields.js";
import type { GgufTensor } from "../format/gguf.js";

/** A model of one architecture as a GGUF has it, and as Hugging Face has it. */

/** A weight of a converted model, by Hugging Face's name. */
export interface ConvertedWeight {
  readonly name: string;
  /** the same in both */
  readonly shape: readonly number[];
  /** the tensor of the GGUF that it is */
  readonly tensor: GgufTensor;
  /** rows of a head, if each head's rows lie in pairs: rows 2i and 2i + 1 are i and i + half; absent: rows lie as they should */
  readonly pairedRows?: number;
}

/** A GGUF's model for Hugging Face's files. */
export interface ConvertedModel {
  /** config.json, but for the tokens that begin and end texts */
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly weights: readonly ConvertedWeight[];
}

/** A GGUF as an architecture reads it. */
export interface GgufContent {
  readonly fields: GgufFields;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Values of a small tensor; null: they are not here yet, and what hangs on them is looked at when they are. */
  values(this: void, tensor: GgufTensor): Float32Array | null;
}

/** Reads the model of an architecture. Throws UserError that names what it doesn't know. */
export type GgufArchitecture = (content: GgufContent) => ConvertedModel;
