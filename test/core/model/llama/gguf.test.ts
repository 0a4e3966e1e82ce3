import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../../../core/errors.js";
import { parseGguf } from "../../../../core/format/gguf.js";
import { directoryOfGguf, type GgufDirectory } from "../../../../core/model/gguf.js";
import { floats, gguf, value, type TensorPart, type Value } from "../../format/gguf-writer.js";

/** Two layers, eight wide, two heads of which one has keys. */
const VALUES: Readonly<Record<string, Value>> = {
  "general.architecture": value.text("llama"),
  "llama.block_count": value.u32(2),
  "llama.context_length": value.u32(64),
  "llama.embedding_length": value.u32(8),
  "llama.feed_forward_length": value.u32(12),
  "llama.attention.head_count": value.u32(2),
  "llama.attention.head_count_kv": value.u32(1),
  "llama.attention.layer_norm_rms_epsilon": value.f32(1e-5),
};
const layer = (index: number): TensorPart[] =>
  (
    [
      ["attn_norm", [8]],
      ["attn_q", [8, 8]],
      ["attn_k", [4, 8]],
      ["attn_v", [4, 8]],
      ["attn_output", [8, 8]],
      ["ffn_norm", [8]],
      ["ffn_gate", [12, 8]],
      ["ffn_up", [12, 8]],
      ["ffn_down", [8, 12]],
    ] as const
  ).map(([name, shape]) => floats(`blk.${index}.${name}.weight`, shape));
const TENSORS = [floats("token_embd.weight", [9, 8]), ...layer(0), ...layer(1), floats("output_norm.weight", [8])];

type Change = Readonly<Record<string, Value | null>>;

function directory(change: Change = {}, tensors: readonly TensorPart[] = TENSORS, factors: Float32Array | null = null): GgufDirectory {
  const values = Object.entries({ ...VALUES, ...change }).flatMap(([key, each]) => (each === null ? [] : [[key, each] as const]));
  const file = gguf(values, tensors);
  return directoryOfGguf(parseGguf(file, file.length, "m.gguf")!, () => factors, "m.gguf");
}

function refused(message: RegExp, change: Change, tensors: readonly TensorPart[] = TENSORS, factors: Float32Array | null = null): void {
  assert.throws(
    () => directory(change, tensors, factors),
    (error) => {
      assert.ok(error instanceof UserError, String(error));
      assert.match(error.message, message);
      return error.message.includes("file=m.gguf");
    },
  );
}

test("a Llama's values become config.json, with llama.cpp's defaults", () => {
  assert.deepEqual(directory().configJson, {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    attention_bias: false,
    attention_dropout: 0,
    head_dim: 4,
    hidden_act: "silu",
    hidden_size: 8,
    initializer_range: 0.02,
    intermediate_size: 12,
    max_position_embeddings: 64,
    mlp_bias: false,
    num_attention_heads: 2,
    num_hidden_layers: 2,
    num_key_value_heads: 1,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: true,
    use_cache: true,
    vocab_size: 9,
    bos_token_id: null,
    eos_token_id: null,
    dtype: "float32",
  });
  const change = { "llama.rope.freq_base": value.f32(500_000), "llama.attention.head_count_kv": null };
  const wide = TENSORS.map((part) => (/attn_[kv]/.test(part.name) ? floats(part.name, [8, 8]) : part));
  const { configJson } = directory(change, [...wide, floats("output.weight", [9, 8])]);
  assert.deepEqual(
    ["rope_theta", "num_key_value_heads", "tie_word_embeddings"].map((key) => configJson[key]),
    [500_000, 2, false],
  );
});

test("weights have Hugging Face's names, and only the rows of q and k lie in pairs", () => {
  const { weights } = directory();
  assert.equal(weights.length, TENSORS.length);
  assert.deepEqual(
    weights.slice(0, 10).map(({ name, tensor }) => [name, tensor.name]),
    [
      ["model.embed_tokens.weight", "token_embd.weight"],
      ["model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"],
      ["model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"],
      ["model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight"],
      ["model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"],
      ["model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight"],
      ["model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"],
      ["model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight"],
      ["model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight"],
      ["model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"],
    ],
  );
  assert.deepEqual(
    weights.filter(({ pairedRows }) => pairedRows !== undefined).map(({ name, pairedRows }) => [name.split(".")[4], pairedRows]),
    [
      ["q_proj", 4],
      ["k_proj", 4],
      ["q_proj", 4],
      ["k_proj", 4],
    ],
  );
});

test("the ends of a turn and of a message end answers as well", () => {
  const tokenizer = {
    "tokenizer.ggml.model": value.text("llama"),
    "tokenizer.ggml.tokens": value.texts(["<unk>", "<s>", "</s>", "<eot>"]),
    "tokenizer.ggml.token_type": value.u32s([2, 3, 3, 3]),
    "tokenizer.ggml.scores": value.f32s([0, 0, 0, 0]),
    "tokenizer.ggml.eot_token_id": value.u32(3),
    "tokenizer.ggml.eom_token_id": value.u32(2),
    "tokenizer.chat_template": value.text("{{ messages }}"),
  };
  const { configJson, texts } = directory(tokenizer);
  assert.deepEqual([configJson["bos_token_id"], configJson["eos_token_id"]], [1, [2, 3]]);
  assert.deepEqual(JSON.parse(texts.get("generation_config.json")!), { bos_token_id: 1, eos_token_id: [2, 3] });
  assert.equal(texts.get("chat_template.jinja"), "{{ messages }}");
  const many = { ...tokenizer, "tokenizer.ggml.tokens": value.texts([..."abcdefghij"]) };
  refused(/more tokens than its model has words.*expected=at most 9, got=10/, many);
  refused(/precompiled_charsmap, expected=a tokenizer without it/, { ...tokenizer, "tokenizer.ggml.precompiled_charsmap": value.u32(0) });
  refused(/token_type, expected=a type for each token, got=nothing/, { ...tokenizer, "tokenizer.ggml.token_type": null });
});

test("what a Llama does not have is refused by its name", () => {
  refused(/architecture that is not read.*expected=llama, got=gpt-oss/, { "general.architecture": value.text("gpt-oss") });
  refused(/general.architecture, expected=a text, got=nothing/, { "general.architecture": null });
  refused(/llama.expert_count, expected=a Llama without it, got=8/, { "llama.expert_count": value.u32(8) });
  refused(/llama.attention.sliding_window, .*got=4096/, { "llama.attention.sliding_window": value.u32(4096) });
  assert.ok(directory({ "llama.expert_count": value.u32(0) }));
  refused(/llama.attention.head_count, expected=a whole number, got=a list/, { "llama.attention.head_count": value.u32s([2, 2]) });
  refused(/llama.block_count, expected=a whole number, got=nothing/, { "llama.block_count": null });
  refused(/llama.block_count, expected=1 to 10000, got=4000000000/, { "llama.block_count": value.u32(4_000_000_000) });
  refused(/llama.block_count, expected=1 to 10000, got=0/, { "llama.block_count": value.u32(0) });
  refused(
    /head_count_kv, expected=a divisor of the 4 heads, got=3/,
    { "llama.attention.head_count": value.u32(4), "llama.attention.head_count_kv": value.u32(3) },
    [],
  );
  refused(/rope.dimension_count, expected=4, the width of a head, got=2/, { "llama.rope.dimension_count": value.u32(2) });
  refused(/vocab_size, expected=9, the rows of token_embd.weight, got=10/, { "llama.vocab_size": value.u32(10) });
  refused(/layer_norm_rms_epsilon, expected=a number above 0, got=NaN/, {
    "llama.attention.layer_norm_rms_epsilon": value.f32(Number.NaN),
  });
});

test("a tensor that is missing, too many or of another shape is refused by its name, before weights are read", () => {
  const without = (name: string): TensorPart[] => TENSORS.filter((part) => part.name !== name);
  refused(/tensor is missing from a GGUF.*blk.1.ffn_up.weight/, {}, without("blk.1.ffn_up.weight"));
  refused(/tensor is missing.*token_embd.weight/, {}, without("token_embd.weight"));
  refused(/tensor that a Llama does not have.*blk.0.attn_q.bias/, {}, [...TENSORS, floats("blk.0.attn_q.bias", [8])]);
  const other = [...without("blk.0.attn_k.weight"), floats("blk.0.attn_k.weight", [8, 8])];
  refused(/another shape than its values say.*blk.0.attn_k.weight, expected=\[4,8\], got=\[8,8\]/, {}, other);
});

test("a rotation that is scaled evenly is said so, and other ways are refused", () => {
  const scaling = (change: Change): unknown => directory(change).configJson["rope_scaling"];
  const factor = value.f32(4);
  const linear = { rope_type: "linear", factor: 4 };
  assert.equal(scaling({ "llama.rope.scaling.type": value.text("none"), "llama.rope.scaling.factor": factor }), undefined);
  assert.deepEqual(scaling({ "llama.rope.scaling.type": value.text("linear"), "llama.rope.scaling.factor": factor }), linear);
  assert.deepEqual(scaling({ "llama.rope.scaling.factor": factor }), linear);
  assert.deepEqual(scaling({ "llama.rope.scale_linear": factor }), linear);
  assert.equal(scaling({ "llama.rope.scaling.factor": value.f32(0) }), undefined);
  refused(/llama.rope.scaling.type, expected=none or linear, got=yarn/, { "llama.rope.scaling.type": value.text("yarn") });
});

test("the factors of Llama 3 are recognized, and no others", () => {
  // heads of 4 have two frequencies, which is too few to tell: this Llama's are 64 wide
  const change = {
    "llama.attention.key_length": value.u32(64),
    "llama.attention.value_length": value.u32(64),
    "llama.rope.freq_base": value.f32(500_000),
  };
  const sizes: Readonly<Record<string, readonly number[]>> = { attn_q: [128, 8], attn_k: [64, 8], attn_v: [64, 8], attn_output: [8, 128] };
  const tensors = TENSORS.map((part) => {
    const shape = sizes[part.name.split(".")[2]!];
    return shape === undefined ? part : floats(part.name, shape);
  });
  const withFactors = [...tensors, floats("rope_freqs.weight", [32])];
  // as llama.cpp's converter computes them, from Llama 3.1's own config
  const factors = Float32Array.from({ length: 32 }, (_, index) => {
    const wave = 2 * Math.PI * 500_000 ** ((2 * index) / 64);
    if (wave < 8192 / 4) return 1;
    if (wave > 8192) return 8;
    const smooth = (8192 / wave - 1) / 3;
    return 1 / ((1 - smooth) / 8 + smooth);
  });
  assert.deepEqual(directory(change, withFactors, factors).configJson["rope_scaling"], {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  });
  assert.equal(directory(change, withFactors, new Float32Array(32).fill(1)).configJson["rope_scaling"], undefined);
  assert.equal(directory(change, withFactors, null).configJson["rope_scaling"], undefined, "not here yet");
  const message = /rope_freqs.weight of a GGUF is not the scaling of Llama 3.*index=16/;
  refused(message, change, withFactors, factors.with(16, factors[16]! * 1.0001));
  refused(message, change, withFactors, factors.with(16, Number.NaN));
  refused(/is not the scaling of Llama 3/, change, withFactors, new Float32Array(32).fill(2));
  refused(/scales its rotation in two ways/, { ...change, "llama.rope.scaling.factor": value.f32(2) }, withFactors, factors);
  refused(/another shape.*rope_freqs.weight, expected=\[32\], got=\[16\]/, change, [...tensors, floats("rope_freqs.weight", [16])]);
});
