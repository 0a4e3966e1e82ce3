import { ConfigFields } from "../common/config-fields.js";
import { parseEosTokenIds } from "../eos.js";
import type { ModelSize } from "../family.js";
import type { ModelShape } from "../shape.js";
import { ropeFrequencies } from "./rope.js";

/** A Llama's shape, as its config.json says it. */
export interface LlamaShape extends ModelShape {
  /** G, the heads of keys and values, each shared by heads / G of queries */
  readonly keyValueHeads: number;
  /** W */
  readonly headWidth: number;
  /** F, the MLP's inner width */
  readonly innerWidth: number;
  readonly normEpsilon: number;
  /** [W/2] by which a head's pairs turn from one position to the next */
  readonly frequencies: readonly number[];
  /** whether the head's matrix is the table of word vectors */
  readonly tied: boolean;
  /** the linear layers that have a bias, by the ends of their names */
  readonly biases: readonly string[];
}

/** What a `model_type` says without a word in its files: transformers' defaults. */
export interface LlamaKind {
  readonly type: string;
  readonly positions: number;
  /** null: as many as heads */
  readonly keyValueHeads: number | null;
  /** null: no row may be longer than all positions anyway */
  readonly slidingWindow: number | null;
  /** whether attention and MLP have biases where the config asks for them */
  readonly mayHaveBiases: boolean;
}

const MAX_LAYERS = 10_000;
const ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"];
const MLP = ["gate_proj", "up_proj", "down_proj"];

/** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
export function parseLlamaConfig(kind: LlamaKind, json: unknown, where: string): LlamaShape {
  const fields = new ConfigFields(json, where);
  fields.oneOf("model_type", kind.type);
  fields.oneOf("hidden_act", "silu");
  fields.oneOf("pretraining_tp", 1);
  for (const field of ["num_local_experts", "num_experts", "quantization_config"])
    if (fields.get(field) != null) fields.fail(field, "absent: Roslin trains no experts and no quantized weights");
  const dropout = fields.number("attention_dropout", 0, 0);
  if (dropout > 1) fields.fail("attention_dropout", "a share from 0 to 1, of dropout, which is not applied");
  const width = fields.integer("hidden_size");
  const heads = fields.integer("num_attention_heads");
  if (fields.get("head_dim") == null && width % heads !== 0) fields.fail("num_attention_heads", `a divisor of hidden_size ${width}`);
  const headWidth = fields.integer("head_dim", width / heads);
  if (headWidth % 2 !== 0) fields.fail("head_dim", "even", headWidth);
  const keyValueHeads = fields.integer("num_key_value_heads", fields.get("num_key_value_heads") === null ? heads : (kind.keyValueHeads ?? heads));
  if (heads % keyValueHeads !== 0) fields.fail("num_key_value_heads", `a divisor of num_attention_heads ${heads}`);
  const positions = fields.integer("max_position_embeddings", kind.positions);
  const window = fields.get("sliding_window") === undefined ? kind.slidingWindow : fields.get("sliding_window");
  if (window !== null && !(typeof window === "number" && window >= positions))
    fields.fail("sliding_window", `null, or not below max_position_embeddings ${positions}`, window);
  const layers = fields.integer("num_hidden_layers");
  // names of billions of weights would fill the memory before the first of them is missed
  if (layers > MAX_LAYERS) fields.fail("num_hidden_layers", `at most ${MAX_LAYERS}`);
  const biases = [...(fields.flag("attention_bias") ? ATTENTION : []), ...(fields.flag("mlp_bias") ? MLP : [])];
  const vocabulary = fields.integer("vocab_size");
  const { bos_token_id: bosTokenId = 1, eos_token_id: eos = 2 } = json as Readonly<Record<string, unknown>>;
  return {
    type: kind.type,
    layers,
    heads,
    keyValueHeads,
    width,
    headWidth,
    innerWidth: fields.integer("intermediate_size"),
    vocabulary,
    positions,
    normEpsilon: fields.number("rms_norm_eps", 1e-6, 0),
    frequencies: ropeFrequencies(fields, headWidth),
    tied: fields.flag("tie_word_embeddings"),
    biases: kind.mayHaveBiases ? biases : [],
    bosTokenId: typeof bosTokenId === "number" ? bosTokenId : fields.fail("bos_token_id", "a token id"),
    eosTokenIds: parseEosTokenIds(eos, vocabulary, (expected) => fields.fail("eos_token_id", expected)),
    ...(dropout > 0 && { dropout: { attention_dropout: dropout } }),
  };
}

/** config.json of a Llama of this size, whose heads are rotated wholly. */
export function llamaConfigJson(type: string, size: ModelSize): Record<string, unknown> {
  return {
    model_type: type,
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    num_key_value_heads: size.heads,
    hidden_size: size.width,
    intermediate_size: Math.ceil((8 * size.width) / 3),
    max_position_embeddings: size.positions,
    vocab_size: size.vocabulary,
    hidden_act: "silu",
    rms_norm_eps: 1e-5,
    rope_parameters: { rope_type: "default", rope_theta: 10_000 },
    sliding_window: null,
    bos_token_id: size.bosTokenId,
    eos_token_id: size.eosTokenId,
    tie_word_embeddings: false,
    use_cache: true,
    dtype: "float32",
  };
}
