import assert from "node:assert/strict";
import { test } from "node:test";
import { END_KEY, promptOf } from "../../../core/text/prompt.js";
import { chooseReading } from "../../../core/rows/row-reading.js";
import { rowReader } from "../../../core/rows/read-row.js";
import { dollyRule, promptRule, type RowRule } from "../../../core/rows/row-rules.js";
import { openPrompt } from "../../../core/text/open-prompt.js";
import type { Prompt, PromptSetting } from "../../../core/text/prompt-kind.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { createTokenizer } from "../../../core/text/tokenizer.js";
import { compileTemplate } from "../../../infra/text/jinja.js";
import { gpt2Tokenizer } from "../../../demo/tokenizer.js";

const reading = chooseReading({ columns: ["instruction", "output"], filled: [] }, parseRunConfig({}).dataset);
assert.ok(reading?.kind === "instructions");
const read = rowReader(reading);

test("a row's tokens are those of its whole text, however its instruction begins", () => {
  const json = gpt2Tokenizer() as { added_tokens: object[] };
  const joining = { ...json, added_tokens: [...json.added_tokens, { id: 50_400, content: "\nSay" }] };
  const prefixed = { ...json, pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } };
  for (const tokenizer of [json, joining, prefixed].map((each) => createTokenizer(each, "tokenizer.json"))) {
    const bounds = { vocabulary: 50_401, longest: 2000, bosId: 50_256, eosId: 50_256, padId: 50_256 };
    const rule = dollyRule(read, tokenizer, bounds, { before: [], after: [] });
    for (const start of ["Say", "say", "é", "5", " a", "\n", "\n\nA", "'s", "'", ".", "", "\t", "<|endoftext|>", "\u00a0", "日", "🙂"])
      for (const input of ["", "some input"]) {
        const instruction = `${start} it again.`;
        const outcome = rule({ instruction, input, output: "again" });
        assert.ok(outcome.kind === "kept");
        assert.deepEqual(
          Array.from(outcome.inputIds),
          tokenizer.encode(`${promptOf({ instruction, input })}again\n\n${END_KEY}`),
          JSON.stringify(start),
        );
        const scored = Array.from(outcome.labels).filter((label) => label >= 0);
        assert.equal(tokenizer.decode(scored), `again\n\n${END_KEY}`);
      }
  }
});

/** BOS before and EOS after a text, as Llama's tokenizers may put them. */
const around = { before: [50_257], after: [50_256] };
const llama = { vocabulary: 50_401, longest: 2000, bosId: 50_257, eosId: 50_256, padId: 50_256 };
const row = { instruction: "Say it.", output: "again" };

function promptOfKind(setting: PromptSetting): Prompt {
  const tokens = { bosToken: "<|extratoken_1|>", eosToken: "<|endoftext|>", endToken: "<|endoftext|>", chatTemplate: null, added: [] };
  return openPrompt(setting, tokens, compileTemplate);
}

test("what a tokenizer puts around a text is there once, whatever the prompt writes itself", () => {
  const tokenizer = createTokenizer(gpt2Tokenizer(), "tokenizer.json");
  const ends = (rule: RowRule): unknown[] => {
    const outcome = rule(row);
    assert.ok(outcome.kind === "kept");
    const ids = Array.from(outcome.inputIds);
    const bos = ids.filter((id) => id === 50_257).length;
    return [bos, ids[0] === 50_257, ids.filter((id) => id === 50_256).length, ids.at(-1) === 50_256, outcome.labels.at(-1)];
  };
  assert.deepEqual(ends(dollyRule(read, tokenizer, llama, around)), [1, true, 1, true, -100]);
  for (const setting of [
    "alpaca",
    { template: "{{ instruction }} {{ output }}" },
    { template: "{{ bos_token }}{{ instruction }} {{ output }}{{ eos_token }}" },
  ] as const) {
    const prompt = promptOfKind(setting);
    assert.deepEqual(ends(promptRule(read, prompt, tokenizer, llama, around)).slice(0, 4), [1, true, 1, true]);
    assert.equal(ends(promptRule(read, prompt, tokenizer, llama, { before: [50_257], after: [] })).at(-1), 50_256);
  }
  // the token that is put before a text may have another name than BOS
  const named = promptOfKind({ template: "<|extratoken_2|>{{ instruction }} {{ output }}" });
  const other = promptRule(read, named, tokenizer, llama, { before: [50_258], after: [] })(row);
  assert.ok(other.kind === "kept");
  assert.deepEqual([other.inputIds[0], Array.from(other.inputIds).filter((id) => id === 50_258).length], [50_258, 1]);
  const none = promptRule(read, promptOfKind("alpaca"), tokenizer, { ...llama, eosId: null }, { before: [], after: [] });
  assert.deepEqual(none(row), { kind: "refused", reason: "the model has no EOS token, so nothing would end an answer" });
});

test("a token that an answer shares with the text before it carries loss, the tokens before it don't", () => {
  const tokenizer = createTokenizer(gpt2Tokenizer(), "tokenizer.json");
  const rule = promptRule(read, promptOfKind({ template: "{{ instruction }} hel{{ output }}" }), tokenizer, llama, {
    before: [],
    after: [],
  });
  const outcome = rule({ instruction: "Say it:", output: "lo there" });
  assert.ok(outcome.kind === "kept");
  assert.equal(tokenizer.decode(Array.from(outcome.inputIds)), "Say it: hello there<|endoftext|>");
  assert.equal(tokenizer.decode(Array.from(outcome.labels).filter((label) => label !== -100)), " hello there<|endoftext|>");
});
