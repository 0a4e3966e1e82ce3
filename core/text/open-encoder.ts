import { createByteLevelEncoder, type ByteLevelTables, type Encoder } from "./encoder.js";
import { createSentencePieceEncoder, type OpenWordModel, type SentencePieceTables } from "./sentencepiece-encoder.js";

/** What encoding needs from a tokenizer's files, by the tokenizer's kind. */
export type EncoderTables = ByteLevelTables | SentencePieceTables;

/** Makes an encoder of its tables. `openModel`: makes the word model that SentencePiece's kinds need. */
export function openEncoder(tables: EncoderTables, openModel: OpenWordModel): Encoder {
  return tables.kind === "byte-level" ? createByteLevelEncoder(tables) : createSentencePieceEncoder(tables, openModel(tables.model));
}
