import { UserError } from "../../errors.js";
import { parseEosTokenIds } from "../eos.js";
import type { ModelSize } from "../family.js";
import type { ModelShape } from "../shape.js";

/** GPT-J's shape, as its config.json says it. */
export interface GptjShape extends ModelShape {
  /** W, D / heads */
  readonly headWidth: number;
  /** F, the MLP's inner width */
  readonly innerWidth: number;
  /** the first entries of each head that are rotated */
  readonly rotaryDim: number;
  readonly normEpsilon: number;
}

const MAX_LAYERS = 10_000;

/** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
export function parseGptjConfig(json: unknown, where: string): GptjShape {
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
  const dropout = Object.fromEntries(
    ["attn_pdrop", "embd_pdrop", "resid_pdrop"].flatMap((field) => {
      const share = fields[field] ?? 0;
      if (typeof share !== "number" || share < 0 || share > 1) return fail(field, "a share from 0 to 1, of dropout, which is not applied");
      return share === 0 ? [] : [[field, share]];
    }),
  );
  const width = integer("n_embd");
  const heads = integer("n_head");
  if (width % heads !== 0) fail("n_head", `a divisor of n_embd ${width}`);
  const headWidth = width / heads;
  // null: all of the width is rotated, which transformers can do for one head alone
  const rotaryDim = fields["rotary_dim"] === null ? width : integer("rotary_dim", 64);
  if (rotaryDim % 2 !== 0 || rotaryDim > headWidth) fail("rotary_dim", `even and at most the head width ${headWidth}`);
  const normEpsilon = fields["layer_norm_epsilon"] ?? 1e-5;
  const bosTokenId = fields["bos_token_id"] ?? 50256;
  const eos = fields["eos_token_id"];
  const vocabulary = integer("vocab_size");
  const layers = integer("n_layer");
  // names of billions of weights would fill the memory before the first of them is missed
  if (layers > MAX_LAYERS) fail("n_layer", `at most ${MAX_LAYERS}`);
  return {
    type: "gptj",
    layers,
    heads,
    width,
    headWidth,
    innerWidth: integer("n_inner", 4 * width),
    vocabulary,
    positions: integer("n_positions", 2048),
    rotaryDim,
    normEpsilon: typeof normEpsilon === "number" && normEpsilon >= 0 ? normEpsilon : fail("layer_norm_epsilon", "a number, not below 0"),
    // transformers' own, which a small vocabulary lacks, stands where the file says nothing
    eosTokenIds: eos === undefined ? [50256] : parseEosTokenIds(eos, vocabulary, (expected) => fail("eos_token_id", expected)),
    bosTokenId: typeof bosTokenId === "number" ? bosTokenId : fail("bos_token_id", "a token id"),
    ...(Object.keys(dropout).length > 0 && { dropout }),
  };
}

/** config.json of a GPT-J of this size. */
export function gptjConfigJson(size: ModelSize): Record<string, unknown> {
  return {
    architectures: ["GPTJForCausalLM"],
    model_type: "gptj",
    n_layer: size.layers,
    n_head: size.heads,
    n_embd: size.width,
    n_inner: null,
    n_positions: size.positions,
    rotary_dim: size.rotary,
    vocab_size: size.vocabulary,
    activation_function: "gelu_new",
    layer_norm_epsilon: 1e-5,
    attn_pdrop: 0,
    embd_pdrop: 0,
    resid_pdrop: 0,
    initializer_range: 0.05,
    bos_token_id: size.bosTokenId,
    eos_token_id: size.eosTokenId,
    tie_word_embeddings: false,
    use_cache: true,
    dtype: "float32",
  };
}
