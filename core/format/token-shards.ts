import { z } from "zod";
import { CorruptError } from "../errors.js";

/** A tokenized dataset: a directory of chunk files and an index that names them with their digests. */

/** Name of the index in the directory. */
export const TOKEN_INDEX = "index.json";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const index = z.object({
  version: z.literal(1),
  /** digests of the model and the dataset that the tokens were made from */
  inputs: z.object({ model: digest, dataset: digest }),
  /** in the order of the dataset; `rows`: number of rows in the file */
  chunks: z.array(z.object({ file: z.string().regex(/^[0-9]+\.safetensors$/), sha256: digest, bytes: z.int(), rows: z.int() })),
  /** indices of the rows of the test split, counted from 0 over all chunks; ascending */
  test: z.array(z.int()),
});

/** The index of a tokenized dataset. */
export type TokenIndex = z.infer<typeof index>;

/** Parses an index. Throws CorruptError naming the file, `where`. */
export function parseTokenIndex(text: string, where: string): TokenIndex {
  try {
    return index.parse(JSON.parse(text));
  } catch (error) {
    throw new CorruptError("a tokenized dataset's index is damaged: run the preprocess stage again", { file: where }, { cause: error });
  }
}
