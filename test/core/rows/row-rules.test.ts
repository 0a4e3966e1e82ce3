import assert from "node:assert/strict";
import { test } from "node:test";
import { END_KEY, promptOf } from "../../../core/text/prompt.js";
import { alpacaRule } from "../../../core/rows/row-rules.js";
import { createTokenizer } from "../../../core/text/tokenizer.js";
import { gpt2Tokenizer } from "../../../demo/tokenizer.js";

test("a row's tokens are those of its whole text, however its instruction begins", () => {
  const json = gpt2Tokenizer() as { added_tokens: object[] };
  const joining = { ...json, added_tokens: [...json.added_tokens, { id: 50_400, content: "\nSay" }] };
  const prefixed = { ...json, pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } };
  for (const tokenizer of [json, joining, prefixed].map((each) => createTokenizer(each, "tokenizer.json"))) {
    const rule = alpacaRule(tokenizer, { vocabulary: 50_401, padId: 50_256 }, 2000);
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
