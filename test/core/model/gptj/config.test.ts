import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../../../core/errors.js";
import { dropoutNote } from "../../../../core/model/shape.js";
import { parseGptjConfig } from "../../../../core/model/gptj/config.js";

const TINY = { model_type: "gptj", n_layer: 1, n_head: 2, n_embd: 8, vocab_size: 50, rotary_dim: 4 };

test("what transformers fills in is filled in the same way", () => {
  const { innerWidth, positions, normEpsilon } = parseGptjConfig(TINY, "test");
  assert.deepEqual([innerWidth, positions, normEpsilon], [32, 2048, 1e-5]);
  assert.equal(parseGptjConfig({ ...TINY, n_head: 1, rotary_dim: null }, "test").rotaryDim, 8);
});

/** The fields of EleutherAI/gpt-j-6b and its derivatives that say a size, as the hub has them. */
const SIX_BILLION = { n_embd: 4096, n_head: 16, n_layer: 28, n_positions: 2048, rotary_dim: 64, vocab_size: 50_400 };

test("a config.json of GPT-J or of a derivative is the same shape, whatever its time left out or added", () => {
  const whole = parseGptjConfig({ model_type: "gptj", ...SIX_BILLION }, "test");
  assert.deepEqual([whole.headWidth, whole.innerWidth, whole.normEpsilon, whole.eosTokenIds], [256, 16_384, 1e-5, [50_256]]);
  const more = { rotary: true, scale_attn_weights: true, summary_type: "cls_index", gradient_checkpointing: true, model_dtype: "fp16" };
  const same: object[] = [
    {},
    { ...SIX_BILLION, ...more, n_inner: null, torch_dtype: "bfloat16", use_cache: false, tie_word_embeddings: false },
    { ...SIX_BILLION, dtype: "float16", bos_token_id: 50_256, eos_token_id: 50_256, pad_token_id: null, resid_pdrop: 0.0 },
    // a second name counts where both are there
    { ...SIX_BILLION, n_embd: 8, n_head: 2, n_layer: 3, hidden_size: 4096, num_attention_heads: 16, num_hidden_layers: 28 },
    { ...SIX_BILLION, n_positions: 7, max_position_embeddings: 2048 },
  ];
  for (const fields of same) assert.deepEqual(parseGptjConfig({ model_type: "gptj", ...fields }, "test"), whole);
  for (const vocabulary of [50_257, 50_264, 50_403])
    assert.equal(parseGptjConfig({ model_type: "gptj", ...SIX_BILLION, vocab_size: vocabulary }, "test").vocabulary, vocabulary);
});

test("the tokens that end an answer are a number, a list or none", () => {
  const ends = (fields: object): readonly number[] => parseGptjConfig({ ...TINY, ...fields }, "test").eosTokenIds;
  assert.deepEqual(ends({}), [50256]);
  assert.deepEqual(ends({ eos_token_id: 0 }), [0]);
  assert.deepEqual(ends({ eos_token_id: [49, 3] }), [49, 3]);
  assert.deepEqual(ends({ eos_token_id: null }), []);
});

test("a config that cannot be trained is refused by the field's name, however large", () => {
  const wrong: [object, RegExp][] = [
    [{ n_layer: 1e9 }, /n_layer \[file=test, expected=at most 10000, got=1000000000\]/],
    [{ n_layer: "1" }, /n_layer .*expected=a positive whole number, got="1"/],
    [{ rotary_dim: 3 }, /rotary_dim .*even and at most the head width 4/],
    [{ rotary_dim: null }, /rotary_dim .*head width 4, got=null/],
    [{ n_head: 3 }, /n_head .*a divisor of n_embd 8/],
    [{ model_type: "llama" }, /model_type .*expected=gptj/],
    [{ activation_function: "gelu" }, /activation_function .*expected=gelu_new, got="gelu"/],
    [{ tie_word_embeddings: true }, /tie_word_embeddings .*expected=false/],
    [{ layer_norm_epsilon: -1e-5 }, /layer_norm_epsilon .*not below 0, got=-0.00001/],
    [{ eos_token_id: -1 }, /eos_token_id .*a token id, or a list of token ids, from 0 to 49, or null, got=-1/],
    [{ eos_token_id: 50 }, /eos_token_id .*from 0 to 49.*got=50/],
    [{ eos_token_id: [3, 50] }, /eos_token_id .*got=\[3,50\]/],
    [{ eos_token_id: [] }, /eos_token_id .*got=\[\]/],
    [{ eos_token_id: "2" }, /eos_token_id .*got="2"/],
    [{ eos_token_id: 1.5 }, /eos_token_id .*got=1.5/],
    [{ resid_pdrop: 1.1 }, /resid_pdrop .*dropout/],
    [{ attn_pdrop: "0.1" }, /attn_pdrop .*dropout/],
    [{ num_attention_heads: 3 }, /num_attention_heads .*a divisor of n_embd 8/],
    [{ quantization_config: { load_in_8bit: true } }, /quantization_config .*expected=absent: Roslin trains no quantized weights/],
  ];
  for (const [fields, message] of wrong) {
    const refused = (error: Error): boolean => error instanceof UserError && message.test(error.message);
    assert.throws(() => parseGptjConfig({ ...TINY, ...fields }, "test"), refused, JSON.stringify(fields));
  }
});

test("dropout is read and not applied, with one sentence that says so", () => {
  const note = (fields: object): string | null => dropoutNote(parseGptjConfig({ ...TINY, ...fields }, "test"));
  for (const fields of [{}, { attn_pdrop: 0, embd_pdrop: 0.0, resid_pdrop: null }]) assert.equal(note(fields), null);
  assert.equal(
    note({ attn_pdrop: 0.1, embd_pdrop: 0, resid_pdrop: 0.05 }),
    "the base's config asks for dropout (attn_pdrop 0.1, resid_pdrop 0.05): training goes without it, because a run must come to the same bytes again; the tuned model's config keeps the values",
  );
});
