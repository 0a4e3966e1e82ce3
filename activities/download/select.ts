import { UserError } from "../../core/errors.js";

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
];

/** Weights in the order in which they are preferred: a single file, or an index with its shards. */
const WEIGHTS: readonly (readonly [single: string, index: string, shard: RegExp])[] = [
  ["model.safetensors", "model.safetensors.index.json", /^[^/]+\.safetensors$/],
  ["pytorch_model.bin", "pytorch_model.bin.index.json", /^pytorch_model[^/]*\.bin$/],
];

/** Config, tokenizer and weights among a model's files; throws UserError when config or weights are missing. */
export function selectModelFiles(paths: readonly string[], where: string): string[] {
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
