import { ConfigFields } from "../common/config-fields.js";
import { rotaryFrequencies, rotaryTables } from "../common/rotary.js";
import { parseEosTokenIds } from "../eos.js";
import type { ModelSize } from "../family.js";
import type { ModelShape } from "../shape.js";

/** GPT-NeoX's shape, as its config.json says it. */
export interface GptNeoxShape extends ModelShape {
  /** W, D / heads */
  readonly headWidth: number;
  /** F, the MLP's inner width */
  readonly innerWidth: number;
  /** the first entries of each head that are rotated */
  readonly rotaryDim: number;
  readonly rotaryBase: number;
  /** what every angle is divided by */
  readonly rotaryFactor: number;
  readonly normEpsilon: number;
  /** whether the MLP takes what attention takes; else it takes what attention gives */
  readonly parallel: boolean;
  /** the operator */
  readonly activation: "gelu" | "erfGelu";
  /** whether attention's layers have a bias */
  readonly attentionBias: boolean;
  /** whether the head's matrix is the table of word vectors */
  readonly tied: boolean;
}

/** By transformers' names; the last two compute the same. */
const ACTIVATIONS = { gelu: "erfGelu", gelu_new: "gelu", gelu_fast: "gelu" } as const;

/** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
export function parseGptNeoxConfig(json: unknown, where: string): GptNeoxShape {
  const fields = new ConfigFields(json, where);
  fields.oneOf("model_type", "gpt_neox");
  fields.oneOf("hidden_act", ...Object.keys(ACTIVATIONS));
  fields.refuseQuantized();
  for (const field of ["use_parallel_residual", "attention_bias"]) fields.oneOf(field, true, false);
  const width = fields.integer("hidden_size", 6144);
  const heads = fields.integer("num_attention_heads", 64);
  if (width % heads !== 0) fields.fail("num_attention_heads", `a divisor of hidden_size ${width}`);
  const vocabulary = fields.integer("vocab_size", 50_432);
  const [bos, eos] = [fields.get("bos_token_id") ?? 0, fields.get("eos_token_id")];
  return {
    type: "gpt_neox",
    layers: fields.layers("num_hidden_layers", 44),
    heads,
    width,
    headWidth: width / heads,
    innerWidth: fields.integer("intermediate_size", 24_576),
    vocabulary,
    positions: fields.integer("max_position_embeddings", 2048),
    ...rotation(fields, width / heads),
    normEpsilon: fields.number("layer_norm_eps", 1e-5, 0),
    parallel: fields.get("use_parallel_residual") !== false,
    activation: ACTIVATIONS[(fields.get("hidden_act") ?? "gelu") as keyof typeof ACTIVATIONS],
    attentionBias: fields.get("attention_bias") !== false,
    tied: fields.flag("tie_word_embeddings"),
    // transformers' own, which a small vocabulary may lack, stands where the file says nothing
    eosTokenIds: eos === undefined ? [2] : parseEosTokenIds(eos, vocabulary, (expected) => fields.fail("eos_token_id", expected)),
    bosTokenId: typeof bos === "number" ? bos : fields.fail("bos_token_id", "a token id"),
    ...fields.dropout("hidden_dropout", "attention_dropout"),
  };
}

/** How heads are rotated: by transformers 5's `rope_parameters`, or where it is silent, by the names of older files. */
function rotation(fields: ConfigFields, headWidth: number): Pick<GptNeoxShape, "rotaryDim" | "rotaryBase" | "rotaryFactor"> {
  // as in transformers, an old file's scaling takes the place of the whole
  const place = Object.keys(fields.get("rope_scaling") ?? {}).length > 0 ? "rope_scaling" : "rope_parameters";
  const rope = (fields.get(place) ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof rope !== "object" || Array.isArray(rope)) return fields.fail(place, "a JSON object");
  const { rope_type: type = rope["type"] ?? "default", factor } = rope;
  if (type !== "default" && type !== "linear") fields.fail(`${place}.rope_type`, "default or linear", type);
  if (type === "linear" && !(typeof factor === "number" && factor >= 1)) fields.fail(`${place}.factor`, "a number, not below 1", factor);
  const either = (name: string, old: string, fallback: number): number => {
    const [field, value] = name in rope ? [`${place}.${name}`, rope[name]] : [old, fields.get(old) ?? fallback];
    return typeof value === "number" && value > 0 ? value : fields.fail(field, "a number above 0", value);
  };
  const share = either("partial_rotary_factor", "rotary_pct", 0.25);
  const rotaryDim = Math.floor(headWidth * share);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0 || rotaryDim > headWidth)
    fields.fail("rotary_pct", `a share by which an even number of a head's ${headWidth} entries is rotated`, share);
  return {
    rotaryDim,
    rotaryBase: either("rope_theta", "rotary_emb_base", 10_000),
    rotaryFactor: type === "linear" ? (factor as number) : 1,
  };
}

/** Cosines and sines of the angles by which heads are rotated. */
export function tables({ positions, rotaryDim, rotaryBase, rotaryFactor }: GptNeoxShape): ReturnType<typeof rotaryTables> {
  const frequencies = rotaryFrequencies(rotaryDim, rotaryBase);
  return rotaryTables(
    positions,
    frequencies.map((angle) => Math.fround(angle / rotaryFactor)),
  );
}

/** config.json of a GPT-NeoX of this size. */
export function gptNeoxConfigJson(size: ModelSize): Record<string, unknown> {
  return {
    architectures: ["GPTNeoXForCausalLM"],
    model_type: "gpt_neox",
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    hidden_size: size.width,
    intermediate_size: 4 * size.width,
    max_position_embeddings: size.positions,
    rope_parameters: { rope_type: "default", rope_theta: 10_000, partial_rotary_factor: (size.rotary * size.heads) / size.width },
    vocab_size: size.vocabulary,
    hidden_act: "gelu",
    layer_norm_eps: 1e-5,
    use_parallel_residual: true,
    attention_bias: true,
    attention_dropout: 0,
    hidden_dropout: 0,
    initializer_range: 0.05,
    bos_token_id: size.bosTokenId,
    eos_token_id: size.eosTokenId,
    tie_word_embeddings: false,
    use_cache: true,
    dtype: "float32",
  };
}
