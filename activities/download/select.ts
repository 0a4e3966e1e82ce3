import { UserError } from "../../core/errors.js";
import { indexedFiles } from "../../core/format/weight-index.js";

/** Which files of a repository or directory a run needs; pure, over paths with slashes. */

/** What a model may have beside its config and weights. */
export const MODEL_COMPANIONS: readonly string[] = [
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  // kinds that Roslin doesn't read, and transformers prefers to vocab.json
  "tokenizer.model",
  "tiktoken.model",
  "tekken.json",
];

/** Weights in the order in which they are preferred: a single file, or an index with its shards. */
const WEIGHTS: readonly (readonly [single: string, index: string, shard: RegExp])[] = [
  ["model.safetensors", "model.safetensors.index.json", /^[^/]+\.safetensors$/],
  ["pytorch_model.bin", "pytorch_model.bin.index.json", /^pytorch_model[^/]*\.bin$/],
];

/** The index of the weights among a model's selected files; undefined where they are a single file. */
export function indexAmong(selected: readonly string[]): string | undefined {
  return WEIGHTS.map(([, index]) => index).find((index) => selected.includes(index));
}

/**
 * Selected files with just those weights that the text of their index names: others hold them in another form. Throws
 * UserError when one of them is not among `paths`.
 */
export function selectIndexed(selected: readonly string[], index: string, text: string, paths: readonly string[]): string[] {
  const named = indexedFiles(text, index);
  const missing = named.find((path) => !paths.includes(path));
  if (missing !== undefined) throw new UserError("a file that the model's index names is missing", { file: index, missing });
  return [...selected.filter((path) => path.endsWith(".json") || MODEL_COMPANIONS.includes(path)), ...named];
}

/** Whether a file is a GGUF, which holds a whole model, by its name. */
export function isGguf(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/** Config, tokenizer and weights among a model's files, or the one GGUF that holds all of them; throws UserError when config or weights are missing. */
export function selectModelFiles(paths: readonly string[], where: string): string[] {
  const hasWeights = WEIGHTS.some(([single, index]) => paths.includes(single) || paths.includes(index));
  const ggufs = hasWeights ? [] : paths.filter((path) => isGguf(path) && !path.includes("/"));
  if (ggufs.length === 1) return ggufs;
  if (ggufs.length > 1)
    throw new UserError("a model's source has several GGUF files: name one of them in the source", {
      source: where,
      files: ggufs.join(", "),
    });
  if (!paths.includes("config.json")) throw new UserError("a model needs config.json", { source: where });
  const others = paths.filter((path) => path === "config.json" || MODEL_COMPANIONS.includes(path));
  for (const [single, index, shard] of WEIGHTS) {
    if (paths.includes(single)) return [...others, single];
    if (paths.includes(index)) return [...others, index, ...paths.filter((path) => shard.test(path))];
  }
  throw new UserError("a model needs weights", {
    source: where,
    expected: WEIGHTS.map(([single, index]) => `${single}, or ${index} and its files`).join(", or "),
  });
}
