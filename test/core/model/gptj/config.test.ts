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
    [{ resid_pdrop: 1.1 }, /resid_pdrop .*dropout/],
    [{ attn_pdrop: "0.1" }, /attn_pdrop .*dropout/],
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
