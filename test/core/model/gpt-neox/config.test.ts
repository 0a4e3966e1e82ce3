import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { UserError } from "../../../../core/errors.js";
import { parseGptNeoxConfig, tables } from "../../../../core/model/gpt-neox/config.js";
import { gptNeox } from "../../../../core/model/gpt-neox/gpt-neox.js";
import { dropoutNote } from "../../../../core/model/shape.js";
import { REFERENCE, REFERENCES, worstShare } from "../reference.js";

const TINY = {
  model_type: "gpt_neox",
  num_hidden_layers: 2,
  num_attention_heads: 2,
  hidden_size: 32,
  intermediate_size: 12,
  vocab_size: 50,
};
const parsed = (fields: object = {}) => parseGptNeoxConfig({ ...TINY, ...fields }, "test");

test("what transformers fills in is filled in the same way", () => {
  const { rotaryDim, rotaryBase, rotaryFactor, positions, normEpsilon, parallel, activation, attentionBias, tied } = parsed();
  assert.deepEqual([rotaryDim, rotaryBase, rotaryFactor], [4, 10_000, 1], "a quarter of a head's 16 entries");
  assert.deepEqual([positions, normEpsilon, parallel, activation, attentionBias, tied], [2048, 1e-5, true, "erfGelu", true, false]);
  const { bosTokenId, eosTokenIds } = parsed();
  assert.deepEqual([bosTokenId, eosTokenIds], [0, [2]]);
  assert.deepEqual(parsed({ eos_token_id: null, bos_token_id: null }).eosTokenIds, []);
  assert.deepEqual(parsed({ eos_token_id: [3, 0] }).eosTokenIds, [3, 0]);
});

test("both spellings of rotation give the same shape, whatever version of transformers wrote them", () => {
  for (const name of REFERENCES.gptNeox) {
    const [now, before] = ["config.json", "config-old-spelling.json"].map((file) =>
      parseGptNeoxConfig(JSON.parse(readFileSync(join(REFERENCE, name, file), "utf8")), name),
    );
    assert.deepEqual(now, before);
  }
  const rotation = (fields: object): unknown[] => {
    const { rotaryDim, rotaryBase, rotaryFactor } = parsed(fields);
    return [rotaryDim, rotaryBase, rotaryFactor];
  };
  // as transformers 5.24 reads them
  assert.deepEqual(rotation({ rotary_pct: 0.5, rotary_emb_base: 500 }), [8, 500, 1]);
  assert.deepEqual(rotation({ rope_parameters: { rope_type: "default" }, rotary_pct: 1 }), [16, 10_000, 1]);
  assert.deepEqual(rotation({ rope_parameters: { rope_theta: 5, partial_rotary_factor: 0.5 }, rotary_emb_base: 500 }), [8, 5, 1]);
  assert.deepEqual(rotation({ rope_scaling: { type: "linear", factor: 2 }, rotary_pct: 1, rotary_emb_base: 77 }), [16, 77, 2]);
  assert.deepEqual(rotation({ rope_scaling: { type: "linear", factor: 2 }, rope_parameters: { rope_theta: 5 } }), [4, 10_000, 2]);
  assert.deepEqual(rotation({ rope_scaling: null, rope_theta: 77, partial_rotary_factor: 1 }), [4, 10_000, 1], "names of other families");
  assert.deepEqual(rotation({ rope_scaling: {}, rope_parameters: { rope_theta: 5 } }), [4, 5, 1]);
});

test("positions that are scaled linearly turn by transformers' angles", () => {
  const { cos, sin } = tables(parsed({ hidden_size: 128, rotary_emb_base: 500, rope_scaling: { type: "linear", factor: 3 } }));
  // GPTNeoXRotaryEmbedding.inv_freq, transformers 5.24
  const angles = [0.3333333432674408, 0.15328775346279144, 0.07049141079187393, 0.032416414469480515];
  const more = [0.01490712072700262, 0.006855237763375044, 0.0031524719670414925, 0.0014497061492875218];
  const expected = [...angles, ...more];
  for (const [table, of] of [
    [cos, Math.cos],
    [sin, Math.sin],
  ] as const)
    assert.ok(
      worstShare(
        (table.data as Float32Array).subarray(8, 16),
        Float32Array.from(expected, (angle) => of(angle)),
      ) < 1e-7,
    );
});

test("attention may have no bias, and the head may be the table of words", () => {
  const names = (fields: object): string[] => {
    const { embedding, blocks, head } = gptNeox.parameters(parsed(fields));
    return [embedding.name, ...blocks[1]!.map(({ name }) => name.replace("gpt_neox.layers.1.", "")), ...head.map(({ name }) => name)];
  };
  const all = names({});
  const biases = ["attention.query_key_value.bias", "attention.dense.bias"];
  assert.deepEqual(
    all.filter((name) => !names({ attention_bias: false }).includes(name)),
    biases,
  );
  assert.equal(all.at(-1), "embed_out.weight");
  assert.equal(names({ tie_word_embeddings: true }).at(-1), "gpt_neox.embed_in.weight");
});

test("buffers of old files are known, and nothing else", () => {
  const buffers = ["bias", "masked_bias", "rotary_emb.inv_freq"].map((name) => `gpt_neox.layers.11.attention.${name}`);
  for (const name of buffers) assert.ok(gptNeox.isBuffer(name), name);
  for (const name of ["gpt_neox.layers.0.attention.dense.bias", "gpt_neox.layers.0.attention.query_key_value.bias"])
    assert.ok(!gptNeox.isBuffer(name), name);
});

test("a config that cannot be trained is refused by the field's name, however large", () => {
  const wrong: [object, RegExp][] = [
    [{ num_hidden_layers: 1e9 }, /num_hidden_layers \[file=test, expected=at most 10000, got=1000000000\]/],
    [{ num_hidden_layers: "1" }, /num_hidden_layers .*expected=a positive whole number, got="1"/],
    [{ num_attention_heads: 3 }, /num_attention_heads .*a divisor of hidden_size 32/],
    [{ model_type: "gptj" }, /model_type .*expected=gpt_neox/],
    [{ hidden_act: "relu" }, /hidden_act .*expected=gelu or gelu_new or gelu_fast, got="relu"/],
    [{ hidden_act: "constructor" }, /hidden_act .*got="constructor"/],
    [{ layer_norm_eps: -1e-5 }, /layer_norm_eps .*not below 0/],
    [{ rotary_pct: 0 }, /rotary_pct .*a number above 0, got=0/],
    [{ rotary_pct: "0.5" }, /rotary_pct .*got="0.5"/],
    [{ rotary_pct: 1.5 }, /rotary_pct .*even number of a head's 16 entries.*got=1.5/],
    [{ rotary_pct: 0.2 }, /rotary_pct .*even number of a head's 16 entries.*got=0.2/],
    [{ rotary_emb_base: -1 }, /rotary_emb_base .*a number above 0, got=-1/],
    [{ rope_parameters: { rope_theta: null } }, /rope_parameters.rope_theta .*got=null/],
    [{ rope_parameters: [] }, /rope_parameters .*a JSON object/],
    [{ rope_parameters: { rope_type: "yarn" } }, /rope_parameters.rope_type .*expected=default or linear, got="yarn"/],
    [{ rope_scaling: { type: "dynamic", factor: 2 } }, /rope_scaling.rope_type .*got="dynamic"/],
    [{ rope_parameters: { rope_type: "linear" } }, /rope_parameters.factor .*not below 1/],
    [{ use_parallel_residual: 0 }, /use_parallel_residual .*true or false/],
    [{ attention_bias: "yes" }, /attention_bias .*true or false/],
    [{ tie_word_embeddings: 1 }, /tie_word_embeddings .*true or false/],
    [{ eos_token_id: 50 }, /eos_token_id .*from 0 to 49.*got=50/],
    [{ bos_token_id: "0" }, /bos_token_id .*a token id/],
    [{ hidden_dropout: 1.1 }, /hidden_dropout .*dropout/],
    [{ quantization_config: { load_in_8bit: true } }, /quantization_config .*absent/],
  ];
  for (const [fields, message] of wrong)
    assert.throws(
      () => parsed(fields),
      (error) => error instanceof UserError && message.test(error.message),
      JSON.stringify(fields),
    );
});

test("dropout is read and not applied, with one sentence that says so", () => {
  assert.equal(dropoutNote(parsed({ hidden_dropout: 0, classifier_dropout: 0.1 })), null);
  assert.match(dropoutNote(parsed({ hidden_dropout: 0.1, attention_dropout: 0.05 }))!, /hidden_dropout 0.1, attention_dropout 0.05/);
});
