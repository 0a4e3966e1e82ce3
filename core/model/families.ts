import { UserError } from "../errors.js";
import type { Model, ModelFamily } from "./family.js";
import { gptNeox } from "./gpt-neox/gpt-neox.js";
import { gptj } from "./gptj/gptj.js";
import { llama, mistral, qwen2, qwen3 } from "./llama/llama.js";

/** The family of which demo and bench make their models. */
export const MADE_FAMILY: ModelFamily = gptj;

/** The families that can be trained, each under its `type`. */
export const FAMILIES: readonly ModelFamily[] = [gptj, gptNeox, llama, mistral, qwen2, qwen3];

/** The model that a config.json describes; throws UserError that names the field. `where` is the file's name. */
export function modelOf(json: unknown, where: string, families: readonly ModelFamily[] = FAMILIES): Model {
  if (typeof json !== "object" || json === null) throw new UserError("a model's config must be a JSON object", { file: where });
  const configJson = json as Record<string, unknown>;
  const type = configJson["model_type"];
  const family = families.find((each) => each.type === type);
  if (family === undefined)
    throw new UserError("this model is not one that Roslin can train: model_type", {
      file: where,
      expected: families.map((each) => each.type).join(" or "),
      got: JSON.stringify(type),
    });
  const shape = family.parse(json, where);
  return { family, shape, parameters: family.parameters(shape), configJson };
}

/** The model that the text of a config.json describes. Throws UserError. */
export function parseModelConfig(text: string, where: string, families?: readonly ModelFamily[]): Model {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UserError("a model's config.json is not JSON", { file: where }, { cause: error });
  }
  return modelOf(json, where, families);
}
