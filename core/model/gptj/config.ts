import { ConfigFields } from "../common/config-fields.js";
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

/** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
export function parseGptjConfig(json: unknown, where: string): GptjShape {
  const fields = new ConfigFields(json, where);
  fields.oneOf("model_type", "gptj");
  fields.oneOf("activation_function", "gelu_new");
  fields.oneOf("tie_word_embeddings", false);
  fields.refuseQuantized();
  /** transformers knows some fields by a second name, which counts where both are there */
  const named = (field: string, second: string): string => (fields.has(second) ? second : field);
  const width = fields.integer(named("n_embd", "hidden_size"), 4096);
  const headsField = named("n_head", "num_attention_heads");
  const heads = fields.integer(headsField, 16);
  if (width % heads !== 0) fields.fail(headsField, `a divisor of n_embd ${width}`);
  const headWidth = width / heads;
  // null: all of the width is rotated, which transformers can do for one head alone
  const rotaryDim = fields.get("rotary_dim") === null ? width : fields.integer("rotary_dim", 64);
  if (rotaryDim % 2 !== 0 || rotaryDim > headWidth) fields.fail("rotary_dim", `even and at most the head width ${headWidth}`);
  const vocabulary = fields.integer("vocab_size", 50_400);
  const [bos, eos] = [fields.get("bos_token_id") ?? 50_256, fields.get("eos_token_id")];
  return {
    type: "gptj",
    layers: fields.layers(named("n_layer", "num_hidden_layers"), 28),
    heads,
    width,
    headWidth,
    innerWidth: fields.integer("n_inner", 4 * width),
    vocabulary,
    positions: fields.integer(named("n_positions", "max_position_embeddings"), 2048),
    rotaryDim,
    normEpsilon: fields.number("layer_norm_epsilon", 1e-5, 0),
    // transformers' own, which a small vocabulary lacks, stands where the file says nothing
    eosTokenIds: eos === undefined ? [50_256] : parseEosTokenIds(eos, vocabulary, (expected) => fields.fail("eos_token_id", expected)),
    bosTokenId: typeof bos === "number" ? bos : fields.fail("bos_token_id", "a token id"),
    ...fields.dropout("attn_pdrop", "embd_pdrop", "resid_pdrop"),
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
