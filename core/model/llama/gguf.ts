import { UserError } from "../../errors.js";
import type { GgufFields } from "../../format/gguf-fields.js";
import type { GgufTensor } from "../../format/gguf.js";
import type { ConvertedModel, ConvertedWeight, GgufContent } from "../gguf-model.js";
import { ropeScaling } from "./gguf-rope.js";

/** A GGUF of the architecture `llama`, which models of Mistral without a sliding window have as well. */

const PREFIX = "llama.";

/** Values that are read, here or for the rotation, and those that change nothing. */
const KNOWN: ReadonlySet<string> = new Set(
  [
    "block_count,context_length,embedding_length,feed_forward_length,vocab_size,attention.head_count,attention.head_count_kv",
    "attention.key_length,attention.value_length,attention.layer_norm_rms_epsilon,rope.freq_base,rope.dimension_count",
    "rope.scale_linear,rope.scaling.type,rope.scaling.factor,rope.scaling.original_context_length",
    // whether the model was trained with the scaling, where its weights came from, and what is said of experts where there are none
    "rope.scaling.finetuned,tensor_data_layout,expert_used_count",
  ].flatMap((line) => line.split(",")),
);

/** No model has more, and names of billions of weights would fill the memory. */
const LIMITS = { layers: 10_000, width: 1 << 20 };

/** L layers, D the model's width, I the inner width, H heads of which K have keys, W elements of a head, V words. */
interface Sizes {
  readonly L: number;
  readonly D: number;
  readonly I: number;
  readonly H: number;
  readonly K: number;
  readonly W: number;
  readonly V: number;
}

/** Reads a Llama's config and weights. Throws UserError that names what a Llama does not have, or is not read. */
export function llamaOfGguf({ fields, tensors, values }: GgufContent): ConvertedModel {
  for (const key of fields.below(PREFIX))
    if (!KNOWN.has(key.slice(PREFIX.length)) && !fields.isZero(key)) throw fields.wrong(key, "a Llama without it");
  const sizes = readSizes(fields, tensors);
  const factors = tensors.get("rope_freqs.weight");
  if (factors !== undefined) checkShape(fields, factors, [sizes.W / 2]);
  const theta = shortest(fields.positive(`${PREFIX}rope.freq_base`, 10_000));
  const scaling = ropeScaling(fields, PREFIX, { theta, width: sizes.W }, factors === undefined ? null : values(factors));
  const isTied = !tensors.has("output.weight");
  return {
    configJson: {
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      attention_bias: false,
      attention_dropout: 0,
      head_dim: sizes.W,
      hidden_act: "silu",
      hidden_size: sizes.D,
      initializer_range: 0.02,
      intermediate_size: sizes.I,
      max_position_embeddings: fields.count(`${PREFIX}context_length`),
      mlp_bias: false,
      num_attention_heads: sizes.H,
      num_hidden_layers: sizes.L,
      num_key_value_heads: sizes.K,
      rms_norm_eps: shortest(fields.positive(`${PREFIX}attention.layer_norm_rms_epsilon`)),
      ...(scaling === null ? {} : { rope_scaling: scaling }),
      rope_theta: theta,
      tie_word_embeddings: isTied,
      use_cache: true,
      vocab_size: sizes.V,
    },
    weights: weightsOf(fields, tensors, sizes, isTied),
  };
}

function readSizes(fields: GgufFields, tensors: GgufContent["tensors"]): Sizes {
  const size = (name: string, limit: number, otherwise?: number): number => {
    const value = fields.count(PREFIX + name, otherwise);
    if (value < 1 || value > limit) throw fields.wrong(PREFIX + name, `1 to ${limit}`);
    return value;
  };
  const D = size("embedding_length", LIMITS.width);
  const H = size("attention.head_count", D);
  const K = size("attention.head_count_kv", H, H);
  if (H % K !== 0) throw fields.wrong(`${PREFIX}attention.head_count_kv`, `a divisor of the ${H} heads`);
  const W = size("attention.key_length", LIMITS.width, Math.floor(D / H));
  if (!fields.has(`${PREFIX}attention.key_length`) && D % H !== 0) throw fields.wrong(`${PREFIX}attention.head_count`, `a divisor of ${D}`);
  if (W % 2 !== 0) throw fields.wrong(`${PREFIX}attention.key_length`, "an even number");
  for (const name of ["attention.value_length", "rope.dimension_count"])
    if (size(name, LIMITS.width, W) !== W) throw fields.wrong(PREFIX + name, `${W}, the width of a head`);
  const embedding = tensors.get("token_embd.weight");
  if (embedding === undefined) throw missing(fields, "token_embd.weight");
  const V = embedding.shape[0]!;
  if (fields.count(`${PREFIX}vocab_size`, V) !== V) throw fields.wrong(`${PREFIX}vocab_size`, `${V}, the rows of token_embd.weight`);
  return { L: size("block_count", LIMITS.layers), D, I: size("feed_forward_length", LIMITS.width), H, K, W, V };
}

/** Each tensor of a layer: its name after `blk.<layer>.`, Hugging Face's after `model.layers.<layer>.`, and its shape. */
function layerTensors({ D, I, H, K, W }: Sizes): readonly (readonly [tensor: string, name: string, shape: readonly number[]])[] {
  return [
    ["attn_norm", "input_layernorm", [D]],
    ["attn_q", "self_attn.q_proj", [H * W, D]],
    ["attn_k", "self_attn.k_proj", [K * W, D]],
    ["attn_v", "self_attn.v_proj", [K * W, D]],
    ["attn_output", "self_attn.o_proj", [D, H * W]],
    ["ffn_norm", "post_attention_layernorm", [D]],
    ["ffn_gate", "mlp.gate_proj", [I, D]],
    ["ffn_up", "mlp.up_proj", [I, D]],
    ["ffn_down", "mlp.down_proj", [D, I]],
  ];
}

function weightsOf(fields: GgufFields, tensors: GgufContent["tensors"], sizes: Sizes, isTied: boolean): ConvertedWeight[] {
  const { L, D, W, V } = sizes;
  const used = new Set(["rope_freqs.weight"]);
  const weight = (from: string, name: string, shape: readonly number[]): ConvertedWeight => {
    const tensor = tensors.get(from);
    if (tensor === undefined) throw missing(fields, from);
    checkShape(fields, tensor, shape);
    used.add(from);
    // a GGUF's rotation turns neighbours, Hugging Face's the halves of a head
    return { name, shape, tensor, ...(/\.attn_[qk]\.weight$/.test(from) && { pairedRows: W }) };
  };
  const layers = Array.from({ length: L }, (_, layer) =>
    layerTensors(sizes).map(([from, name, shape]) => weight(`blk.${layer}.${from}.weight`, `model.layers.${layer}.${name}.weight`, shape)),
  );
  const weights = [
    weight("token_embd.weight", "model.embed_tokens.weight", [V, D]),
    ...layers.flat(),
    weight("output_norm.weight", "model.norm.weight", [D]),
    ...(isTied ? [] : [weight("output.weight", "lm_head.weight", [V, D])]),
  ];
  const extra = [...tensors.keys()].find((name) => !used.has(name));
  if (extra !== undefined)
    throw new UserError("a GGUF has a tensor that a Llama does not have", { file: fields.where, tensor: extra, tensors: tensors.size });
  return weights;
}

function missing({ where }: GgufFields, tensor: string): UserError {
  return new UserError("a tensor is missing from a GGUF", { file: where, tensor });
}

function checkShape({ where }: GgufFields, { name, shape }: GgufTensor, expected: readonly number[]): void {
  if (shape.join() !== expected.join())
    throw new UserError("a tensor of a GGUF has another shape than its values say", {
      file: where,
      tensor: name,
      expected: `[${expected.join()}]`,
      got: `[${shape.join()}]`,
    });
}

/** The shortest decimal number with the same fp32: 1e-5, where an fp32 as a number has 9.999999747378752e-06. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
