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
  /** whether each head of queries and keys has a norm of its own before it is rotated */
  readonly headNorms: boolean;
}

/** What a `model_type` says without a word in its files: transformers' defaults. */
export interface LlamaKind {
  readonly type: string;
  readonly positions: number;
  /** null: as many as heads */
  readonly keyValueHeads: number | null;
  /** null: the model's width divided by heads */
  readonly headWidth: number | null;
  /** tokens that a query looks at: null: all; "switched": all, unless use_sliding_window */
  readonly slidingWindow: number | null | "switched";
  /** fields that give biases, and the layers that have one in any case */
  readonly mayAsk: readonly string[];
  readonly biases: readonly string[];
  readonly headNorms: boolean;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
}

const MAX_LAYERS = 10_000;
/** The layers to which a field gives biases. */
const BIASED: Readonly<Record<string, readonly string[]>> = {
  attention_bias: ["q_proj", "k_proj", "v_proj", "o_proj"],
  mlp_bias: ["gate_proj", "up_proj", "down_proj"],
};

/** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
export function parseLlamaConfig(kind: LlamaKind, json: unknown, where: string): LlamaShape {
  const fields = new ConfigFields(json, where);
  fields.oneOf("model_type", kind.type);
  fields.oneOf("hidden_act", "silu");
  fields.oneOf("pretraining_tp", 1);
  for (const field of ["num_local_experts", "num_experts", "quantization_config"])
    if (fields.get(field) != null) fields.fail(field, "absent: Roslin trains no experts and no quantized weights");
  const { layer_types: layerTypes } = json as Readonly<Record<string, unknown>>;
  if (Array.isArray(layerTypes) && layerTypes.some((each) => each !== "full_attention")) fields.fail("layer_types", "full_attention alone");
  const dropout = fields.number("attention_dropout", 0, 0);
  if (dropout > 1) fields.fail("attention_dropout", "a share from 0 to 1, of dropout, which is not applied");
  const width = fields.integer("hidden_size");
  const heads = fields.integer("num_attention_heads");
  const givenWidth = fields.get("head_dim") ?? kind.headWidth;
  if (givenWidth === null && width % heads !== 0) fields.fail("num_attention_heads", `a divisor of hidden_size ${width}`);
  const headWidth = fields.integer("head_dim", kind.headWidth ?? width / heads);
  if (headWidth % 2 !== 0) fields.fail("head_dim", "even", headWidth);
  const keyValueHeads = fields.integer("num_key_value_heads", (fields.has("num_key_value_heads") ? null : kind.keyValueHeads) ?? heads);
  if (heads % keyValueHeads !== 0) fields.fail("num_key_value_heads", `a divisor of num_attention_heads ${heads}`);
  const positions = fields.integer("max_position_embeddings", kind.positions);
  refuseWindow(kind, fields, positions);
  const layers = fields.integer("num_hidden_layers");
  // names of billions of weights would fill the memory before the first of them is missed
  if (layers > MAX_LAYERS) fields.fail("num_hidden_layers", `at most ${MAX_LAYERS}`);
  const vocabulary = fields.integer("vocab_size");
  const bosTokenId = fields.has("bos_token_id") ? fields.get("bos_token_id") : kind.bosTokenId;
  const eosTokenId = fields.has("eos_token_id") ? fields.get("eos_token_id") : kind.eosTokenId;
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
    biases: [...kind.biases, ...kind.mayAsk.flatMap((field) => (fields.flag(field) ? BIASED[field]! : []))],
    headNorms: kind.headNorms,
    bosTokenId: bosTokenId === null || typeof bosTokenId === "number" ? bosTokenId : fields.fail("bos_token_id", "a token id, or null"),
    eosTokenIds: parseEosTokenIds(eosTokenId, vocabulary, (expected) => fields.fail("eos_token_id", expected)),
    ...(dropout > 0 && { dropout: { attention_dropout: dropout } }),
  };
}

/** A window that slides over fewer tokens than a row may have is not computed. */
function refuseWindow({ slidingWindow }: LlamaKind, fields: ConfigFields, positions: number): void {
  if (slidingWindow === "switched") return fields.oneOf("use_sliding_window", false);
  const window = fields.has("sliding_window") ? fields.get("sliding_window") : slidingWindow;
  if (window !== null && !(typeof window === "number" && window >= positions))
    fields.fail("sliding_window", `null, or not below max_position_embeddings ${positions}: Roslin trains no sliding window`, window);
}

/** config.json of a Llama of this size, whose heads are rotated wholly. */
export function llamaConfigJson({ type, headWidth }: LlamaKind, size: ModelSize): Record<string, unknown> {
  return {
    model_type: type,
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    num_key_value_heads: size.heads,
    hidden_size: size.width,
    ...(headWidth !== null && { head_dim: size.width / size.heads }),
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
