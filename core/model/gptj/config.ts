import { UserError } from "../../errors.js";

/** GPT-J's shape, as its config.json says it. */
export interface GptjConfig {
  readonly layers: number;
  readonly heads: number;
  /** D, the model's width */
  readonly width: number;
  /** D / heads */
  readonly headWidth: number;
  /** F, the MLP's inner width */
  readonly innerWidth: number;
  readonly vocabulary: number;
  /** the longest row */
  readonly positions: number;
  /** the first entries of each head that are rotated */
  readonly rotaryDim: number;
  readonly normEpsilon: number;
  readonly eosTokenId: number;
  readonly bosTokenId: number;
}

const MAX_LAYERS = 10_000;

/** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
export function parseGptjConfig(json: unknown, where: string): GptjConfig {
  if (typeof json !== "object" || json === null) throw new UserError("a model's config must be a JSON object", { file: where });
  const fields = json as Record<string, unknown>;
  const fail = (field: string, expected: string): never => {
    throw new UserError(`this model is not one that Roslin can train: ${field}`, {
      file: where,
      expected,
      got: JSON.stringify(fields[field]),
    });
  };
  const integer = (field: string, fallback?: number): number => {
    const value = fields[field] ?? fallback;
    return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : fail(field, "a positive whole number");
  };
  if (fields["model_type"] !== "gptj") fail("model_type", "gptj");
  if ((fields["activation_function"] ?? "gelu_new") !== "gelu_new") fail("activation_function", "gelu_new");
  if (fields["tie_word_embeddings"] === true) fail("tie_word_embeddings", "false");
  for (const field of ["attn_pdrop", "embd_pdrop", "resid_pdrop"])
    if ((fields[field] ?? 0) !== 0) fail(field, "0: dropout is not trained with");
  const width = integer("n_embd");
  const heads = integer("n_head");
  if (width % heads !== 0) fail("n_head", `a divisor of n_embd ${width}`);
  const headWidth = width / heads;
  // null: all of the width is rotated, which transformers can do for one head alone
  const rotaryDim = fields["rotary_dim"] === null ? width : integer("rotary_dim", 64);
  if (rotaryDim % 2 !== 0 || rotaryDim > headWidth) fail("rotary_dim", `even and at most the head width ${headWidth}`);
  const normEpsilon = fields["layer_norm_epsilon"] ?? 1e-5;
  const eosTokenId = fields["eos_token_id"] ?? 50256;
  const bosTokenId = fields["bos_token_id"] ?? 50256;
  const layers = integer("n_layer");
  // names of billions of weights would fill the memory before the first of them is missed
  if (layers > MAX_LAYERS) fail("n_layer", `at most ${MAX_LAYERS}`);
  return {
    layers,
    heads,
    width,
    headWidth,
    innerWidth: integer("n_inner", 4 * width),
    vocabulary: integer("vocab_size"),
    positions: integer("n_positions", 2048),
    rotaryDim,
    normEpsilon: typeof normEpsilon === "number" && normEpsilon >= 0 ? normEpsilon : fail("layer_norm_epsilon", "a number, not below 0"),
    eosTokenId: typeof eosTokenId === "number" ? eosTokenId : fail("eos_token_id", "a token id"),
    bosTokenId: typeof bosTokenId === "number" ? bosTokenId : fail("bos_token_id", "a token id"),
  };
}
