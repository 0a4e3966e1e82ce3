import { UserError } from "../../core/errors.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../../core/model/lora/adapter-config.js";
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

/** The files of an adapter's tokenizer that decide ids: its base's are used, and have to be the same. */
export const ADAPTER_TOKENIZER: readonly string[] = ["tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"];

/** Where a chat template may lie, the first one that is there. */
export const TEMPLATE_FILES: readonly string[] = ["chat_template.jinja", "tokenizer_config.json"];

/** The files of an adapter among those of a place; null: it holds none. Throws UserError if weights are missing, or if a whole model lies there, too. */
function selectAdapterFiles(paths: readonly string[], where: string): string[] | null {
  if (!paths.includes(ADAPTER_CONFIG)) return null;
  if (WEIGHTS.some(([single, index]) => paths.includes(single) || paths.includes(index)))
    throw new UserError("a model's source holds a whole model and an adapter: name a place that holds one of them", { source: where });
  if (!paths.includes(ADAPTER_WEIGHTS))
    throw new UserError(`an adapter needs ${ADAPTER_WEIGHTS}: save it with safe_serialization=True`, {
      source: where,
      got: paths.find((path) => path.startsWith("adapter_model")) ?? "none",
    });
  return [ADAPTER_CONFIG, ADAPTER_WEIGHTS, ...paths.filter((path) => [...ADAPTER_TOKENIZER, ...TEMPLATE_FILES].includes(path))];
}

/** Whether a file is a GGUF, which holds a whole model, by its name. */
export function isGguf(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/** The GGUF that a source names, if it is among a repository's files. Throws UserError. */
export function selectNamed(paths: readonly string[], file: string, where: string): string[] {
  if (paths.includes(file)) return [file];
  const there = paths.filter(isGguf);
  throw new UserError("the GGUF that a model's source names is not there", { source: where, files: there.join(", ") || "no GGUF" });
}

/** Config, tokenizer and weights among a model's files, the one GGUF that holds all of them, or the files of an adapter; throws UserError when config or weights are missing. */
export function selectModelFiles(paths: readonly string[], where: string): string[] {
  const adapter = selectAdapterFiles(paths, where);
  if (adapter !== null) return adapter;
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
