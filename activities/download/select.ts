import { UserError } from "../../core/errors.js";

/** Which files of a repository or directory a run needs; pure, over paths with slashes. */

const MODEL_FILES = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
]);

/** Config, tokenizer and weights among a model's files; throws UserError when config or readable weights are missing. */
export function selectModelFiles(paths: readonly string[], where: string): string[] {
  if (!paths.includes("config.json")) throw new UserError("a model needs config.json", { source: where });
  const index = "model.safetensors.index.json";
  const weights = paths.includes("model.safetensors")
    ? ["model.safetensors"]
    : paths.includes(index)
      ? [index, ...paths.filter((path) => /^[^/]+\.safetensors$/.test(path))]
      : [];
  if (weights.length === 0) {
    const pickle = paths.find((path) => /^pytorch_model.*\.(bin|pt)$/.test(path));
    if (pickle !== undefined)
      throw new UserError(
        "this model's weights are torch pickles, which Roslin does not read yet: name a model with safetensors, or convert it with transformers' save_pretrained",
        {
          source: where,
          expected: "model.safetensors",
          got: pickle,
        },
      );
    throw new UserError("a model needs weights", {
      source: where,
      expected: "model.safetensors, or model.safetensors.index.json and its files",
    });
  }
  return [...paths.filter((path) => MODEL_FILES.has(path)), ...weights];
}

/** Formats of data, the first that is there wins: a repository often holds the same rows in several. */
const DATA_FORMATS = [".parquet", ".jsonl", ".json", ".csv"];
/** JSON files that describe a dataset and hold no rows. */
const NO_ROWS = /(^|\/)(dataset_infos|dataset_dict|dataset_info|state|config)\.json$/;

/** The data files of a dataset: of one format, and those of the train split where files name their split. */
export function selectDataFiles(paths: readonly string[], where: string): string[] {
  const visible = paths.filter((path) => !NO_ROWS.test(path) && !path.split("/").some((part) => part.startsWith(".")));
  for (const format of DATA_FORMATS) {
    const files = visible.filter((path) => path.toLowerCase().endsWith(format));
    const train = files.filter((path) => /(^|[^a-z])train([^a-z]|$)/i.test(path));
    if (files.length > 0) return (train.length > 0 ? train : files).toSorted();
  }
  throw new UserError("a dataset needs a data file", { source: where, expected: DATA_FORMATS.join(", "), files: paths.length });
}
