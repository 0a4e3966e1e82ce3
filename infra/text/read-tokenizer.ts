import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { createTokenizer, type Tokenizer } from "../../core/text/tokenizer.js";

/** The tokenizer of a model's directory, with what the files beside it say of its special tokens. */
export interface ModelTokenizer extends Tokenizer {
  /** ids that it puts around a text by itself, such as BOS */
  readonly around: { readonly before: readonly number[]; readonly after: readonly number[] };
  /** texts of the special tokens; null: it has none */
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  /** the Jinja template of conversations; null: the model has none */
  readonly chatTemplate: string | null;
}

/** Whether a model's directory has a tokenizer: models that are trained on rows of tokens need none. */
export function hasTokenizer(directory: string): boolean {
  return existsSync(join(directory, "tokenizer.json"));
}

/** Reads a model's tokenizer. Throws UserError if it is missing, is not JSON, or is of a kind that Roslin does not read. */
export function readTokenizer(directory: string): ModelTokenizer {
  const path = join(directory, "tokenizer.json");
  if (!hasTokenizer(directory))
    // words need a tokenizer; rows of input_ids and labels don't, so the download takes models without one
    throw new UserError("a file of the model is missing: words need tokenizer.json beside the weights", { file: path });
  const tokenizer = createTokenizer(readJson(path), path);
  return { ...tokenizer, around: { before: [], after: [] }, bosToken: null, eosToken: null, chatTemplate: null };
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as unknown;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new UserError("a file of the model is not JSON", { file: path }, { cause: error });
  }
}
