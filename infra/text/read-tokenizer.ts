import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { FAMILIES } from "../../core/model/families.js";
import { createModelTokenizer, type ModelTokenizer } from "../../core/text/model-tokenizer.js";
import { missingTokenizer } from "../../core/text/tokenizer-names.js";
import { compilePattern } from "./split-pattern.js";

/**
 * Reads a model's tokenizer: tokenizer.json, or vocab.json and merges.txt, and the files beside it that change its ids.
 * Throws UserError if it is missing, is not JSON, or is of a kind that Roslin does not read.
 */
export function readTokenizer(directory: string): ModelTokenizer {
  const names = existsSync(directory) ? readdirSync(directory) : [];
  return tokenizerOfFiles(directory, names, (name) => (names.includes(name) ? readFileSync(join(directory, name), "utf8") : null));
}

/** The tokenizer of a model's files. `where`: the directory or repository that has them; `text`: a file's text, null if it is not there. Throws UserError as `readTokenizer`. */
export function tokenizerOfFiles(where: string, names: readonly string[], text: (name: string) => string | null): ModelTokenizer {
  const missing = missingTokenizer(names);
  // words need a tokenizer; rows of input_ids and labels don't, so the download takes models without one
  if (missing !== null)
    throw new UserError(`a file of the model is missing: words need a tokenizer beside the weights, and there is ${missing}`, {
      directory: where,
    });
  const json = (name: string): unknown => {
    const found = text(name);
    return found === null ? null : parseJson(found, `${where}/${name}`);
  };
  const tokenizerJson = json("tokenizer.json");
  if (tokenizerJson === null && names.includes("tokenizer.json"))
    throw new UserError("a file of the model is empty: expected a tokenizer, got null", { file: `${where}/tokenizer.json` });
  // beside tokenizer.json they don't count
  const [vocabulary, merges] = tokenizerJson === null ? [json("vocab.json"), text("merges.txt")] : [null, null];
  const config = json("config.json");
  const modelType = (config as { readonly model_type?: unknown } | null)?.model_type;
  const files = {
    config,
    tokenizerConfig: json("tokenizer_config.json"),
    tokenizerJson,
    specialTokensMap: json("special_tokens_map.json"),
    addedTokens: json("added_tokens.json"),
    vocabulary,
    merges,
    chatTemplate: text("chat_template.jinja"),
  };
  try {
    return createModelTokenizer(files, FAMILIES.find(({ type }) => type === modelType)?.tokenizerClass ?? null, compilePattern);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`the tokenizer in ${where} cannot be used: ${error.message}`, {}, { cause: error });
  }
}

/** A model's tokenizer; null: it has none that Roslin reads, so its rows came as tokens. */
export function readableTokenizer(directory: string): ModelTokenizer | null {
  try {
    return readTokenizer(directory);
  } catch (error) {
    if (error instanceof UserError) return null;
    throw error;
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new UserError("a file of the model is not JSON", { file }, { cause: error });
  }
}
