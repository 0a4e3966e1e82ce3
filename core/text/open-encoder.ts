import { createByteLevelEncoder, type ByteLevelTables, type Encoder } from "./encoder.js";
import { createSentencePieceEncoder, type SentencePieceTables } from "./sentencepiece-encoder.js";

/** What encoding needs from a tokenizer's files, by the tokenizer's kind. */
export type EncoderTables = ByteLevelTables | SentencePieceTables;

/** Makes an encoder of its tables. */
export function openEncoder(tables: EncoderTables): Encoder {
  return tables.kind === "byte-level" ? createByteLevelEncoder(tables) : createSentencePieceEncoder(tables);
}
