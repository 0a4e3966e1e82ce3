import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { parseEosTokenIds } from "../../core/model/eos.js";
import { parseModelConfig } from "../../core/model/families.js";
import { refuseLfsPointer } from "../disk/lfs-pointer.js";
import type { Model, ModelFamily } from "../../core/model/family.js";

/** The model that a directory's config.json describes, its generation_config.json checked; its weights are not looked at. Throws UserError. */
export function readModelConfig(directory: string, families?: readonly ModelFamily[]): Model {
  const path = join(directory, "config.json");
  if (!existsSync(path)) throw new UserError("a model directory needs config.json", { directory });
  refuseLfsPointer(path);
  const model = parseModelConfig(readFileSync(path, "utf8"), path, families);
  // what is wrong with them is better heard of now than when the first answer is generated
  readEosTokenIds(directory, model);
  return model;
}

/** The tokens that end an answer: as in transformers, those of generation_config.json where there is one, else those of config.json. Throws UserError. */
export function readEosTokenIds(directory: string, { shape }: Pick<Model, "shape">): readonly number[] {
  const path = join(directory, "generation_config.json");
  if (!existsSync(path)) return shape.eosTokenIds;
  const json = parseJson(readFileSync(path, "utf8"), path);
  if (typeof json !== "object" || json === null) throw new UserError("a model's generation config must be a JSON object", { file: path });
  const { eos_token_id: value = null } = json as Readonly<Record<string, unknown>>;
  return parseEosTokenIds(value, shape.vocabulary, (expected) => {
    throw new UserError("a model's generation config is wrong: eos_token_id", { file: path, expected, got: JSON.stringify(value) });
  });
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UserError("a model's generation_config.json is not JSON", { file }, { cause: error });
  }
}
