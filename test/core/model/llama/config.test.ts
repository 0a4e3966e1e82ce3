import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { UserError } from "../../../../core/errors.js";
import { modelOf } from "../../../../core/model/families.js";
import { dropoutNote } from "../../../../core/model/shape.js";
import type { LlamaShape } from "../../../../core/model/llama/config.js";
import { REFERENCE, REFERENCES } from "../reference.js";

const SMALL = { model_type: "llama", num_hidden_layers: 1, num_attention_heads: 4, hidden_size: 32, intermediate_size: 40, vocab_size: 50 };
const parsed = (fields: object): LlamaShape => modelOf({ ...SMALL, ...fields }, "test").shape as LlamaShape;

test("both spellings of a config give one shape", () => {
  for (const name of [...REFERENCES.llama, ...REFERENCES.qwen]) {
    const [now, old] = ["config.json", "config-old-spelling.json"].map((file) =>
      modelOf(JSON.parse(readFileSync(join(REFERENCE, name, file), "utf8")), name),
    );
    assert.deepEqual(old!.shape, now!.shape);
  }
});

test("what transformers fills in is filled in the same way", () => {
  const { keyValueHeads, headWidth, positions, normEpsilon, tied, biases, bosTokenId, eosTokenIds, frequencies } = parsed({});
  assert.deepEqual([keyValueHeads, headWidth, positions, normEpsilon, tied, biases], [4, 8, 2048, 1e-6, false, []]);
  assert.deepEqual([bosTokenId, eosTokenIds, frequencies[1]], [1, [2], Math.fround(0.1)]);
  const mistral = parsed({ model_type: "mistral", num_attention_heads: 8, sliding_window: null });
  assert.deepEqual([mistral.keyValueHeads, mistral.positions], [8, 131_072]);
  assert.equal(parsed({ model_type: "mistral", sliding_window: null, num_key_value_heads: null }).keyValueHeads, 4);
  const qwen = parsed({ model_type: "qwen2", num_key_value_heads: 2, attention_bias: true });
  assert.deepEqual([qwen.bosTokenId, qwen.eosTokenIds, qwen.biases], [null, [], ["q_proj", "k_proj", "v_proj"]]);
  assert.equal(parsed({ model_type: "qwen3", num_key_value_heads: 2, hidden_size: 30 }).headWidth, 128);
});

test("Llama 3's list of tokens that end an answer, and no token, are read", () => {
  assert.deepEqual(parsed({ eos_token_id: [3, 8, 9] }).eosTokenIds, [3, 8, 9]);
  assert.deepEqual(parsed({ eos_token_id: null, bos_token_id: null }), { ...parsed({}), eosTokenIds: [], bosTokenId: null });
});

test("frequencies are torch's, in every bit", () => {
  const scaling = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const llama3 = { rope_theta: 500_000, rope_scaling: { rope_type: "llama3", ...scaling } };
  const { frequencies } = parsed({ head_dim: 128, ...llama3 });
  const bits = (at: number): number => new Uint32Array(Float32Array.of(frequencies[at]!).buffer)[0]!;
  assert.deepEqual([0, 28, 29, 32, 36, 63].map(bits), [1_065_353_216, 995_260_192, 990_772_486, 973_706_706, 950_223_245, 883_213_055]);
  assert.deepEqual(
    parsed({ head_dim: 128, rope_parameters: { rope_theta: 500_000, rope_type: "llama3", ...scaling } }).frequencies,
    frequencies,
  );
  const plain = parsed({}).frequencies;
  const halved = plain.map((each) => each / 2);
  assert.deepEqual(parsed({ rope_scaling: { type: "linear", factor: 2 } }).frequencies, halved);
  assert.deepEqual(parsed({ rope_parameters: { rope_type: "linear", factor: 2 } }).frequencies, halved);
});

test("a config that cannot be trained is refused by the field's name", () => {
  const LLAMA3 = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 };
  const without = (field: keyof typeof LLAMA3): object => ({ rope_scaling: { ...LLAMA3, [field]: undefined } });
  const wrong: [object, RegExp][] = [
    [{ num_hidden_layers: 1e9 }, /num_hidden_layers \[file=test, expected=at most 10000, got=1000000000\]/],
    [{ hidden_size: undefined }, /hidden_size .*a positive whole number/],
    [{ vocab_size: undefined }, /vocab_size .*a positive whole number/],
    [{ intermediate_size: undefined }, /intermediate_size .*a positive whole number/],
    [{ num_attention_heads: 3 }, /num_attention_heads .*a divisor of hidden_size 32, got=3/],
    [{ num_key_value_heads: 3 }, /num_key_value_heads .*a divisor of num_attention_heads 4, got=3/],
    [{ head_dim: 7 }, /head_dim .*expected=even, got=7/],
    [{ hidden_act: "gelu" }, /hidden_act .*expected=silu, got="gelu"/],
    [{ pretraining_tp: 2 }, /pretraining_tp .*expected=1, got=2/],
    [{ tie_word_embeddings: "true" }, /tie_word_embeddings .*true or false/],
    [{ attention_bias: 1 }, /attention_bias .*true or false/],
    [{ rms_norm_eps: -1 }, /rms_norm_eps .*not below 0, got=-1/],
    [{ attention_dropout: 1.5 }, /attention_dropout .*dropout/],
    [{ bos_token_id: "1" }, /bos_token_id .*a token id, or null/],
    [{ eos_token_id: 50 }, /eos_token_id .*from 0 to 49.*got=50/],
    [{ quantization_config: { bits: 4 } }, /quantization_config .*absent/],
    [{ num_local_experts: 8 }, /num_local_experts .*no experts/],
    [{ layer_types: ["sliding_attention"] }, /layer_types .*full_attention/],
    [{ sliding_window: 1024 }, /sliding_window .*not below max_position_embeddings 2048: Roslin trains no sliding window, got=1024/],
    [{ model_type: "mistral", num_key_value_heads: 4 }, /sliding_window .*got=4096/],
    [{ model_type: "mistral", num_key_value_heads: 4, sliding_window: 4096, max_position_embeddings: 32_768 }, /sliding_window .*got=4096/],
    [{ model_type: "qwen2", num_key_value_heads: 4, use_sliding_window: true }, /use_sliding_window .*expected=false, got=true/],
    [{ partial_rotary_factor: 0.5 }, /partial_rotary_factor .*expected=1, got=0.5/],
    [{ rope_theta: 0 }, /rope_theta .*a number, not below 1, got=0/],
    [{ rope_theta: 1e4, rope_parameters: { rope_theta: 5e5 } }, /rope_theta .*as rope_parameters.rope_theta, 500000, got=10000/],
    [{ rope_scaling: LLAMA3, rope_parameters: LLAMA3 }, /rope_scaling .*absent beside rope_parameters/],
    [{ rope_scaling: { rope_type: "yarn", factor: 4 } }, /rope_scaling.rope_type .*default, linear or llama3, got="yarn"/],
    [{ rope_scaling: { type: "dynamic", factor: 4 } }, /rope_type .*got="dynamic"/],
    [{ rope_scaling: { rope_type: "linear", type: "dynamic", factor: 4 } }, /type .*as rope_scaling.rope_type/],
    [{ rope_scaling: { type: "linear" } }, /rope_scaling.factor .*a number, not below 1/],
    [{ rope_scaling: "linear" }, /rope_scaling .*a JSON object/],
    [{ rope_parameters: { full_attention: LLAMA3 } }, /rope_parameters.full_attention/],
    [without("low_freq_factor"), /rope_scaling.low_freq_factor .*a number/],
    [without("original_max_position_embeddings"), /rope_scaling.original_max_position_embeddings .*a number/],
    [{ rope_scaling: { ...LLAMA3, high_freq_factor: 1 } }, /high_freq_factor .*above low_freq_factor 1, got=1/],
  ];
  for (const [fields, message] of wrong) {
    const refused = (error: Error): boolean => error instanceof UserError && message.test(error.message);
    assert.throws(() => parsed(fields), refused, JSON.stringify(fields));
  }
});

test("dropout is read and not applied, with one sentence that says so", () => {
  assert.equal(dropoutNote(parsed({ attention_dropout: 0 })), null);
  assert.match(dropoutNote(parsed({ attention_dropout: 0.1 }))!, /asks for dropout \(attention_dropout 0.1\)/);
});
