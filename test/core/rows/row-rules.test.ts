import assert from "node:assert/strict";
import { test } from "node:test";
import { END_KEY, promptOf } from "../../../core/text/prompt.js";
import { chooseReading } from "../../../core/rows/row-reading.js";
import { rowReader } from "../../../core/rows/read-row.js";
import { dollyRule } from "../../../core/rows/row-rules.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { createTokenizer } from "../../../core/text/tokenizer.js";
import { gpt2Tokenizer } from "../../../demo/tokenizer.js";

const reading = chooseReading({ columns: ["instruction", "output"], filled: [] }, parseRunConfig({}).dataset);
assert.ok(reading?.kind === "instructions");
const read = rowReader(reading);

test("a row's tokens are those of its whole text, however its instruction begins", () => {
  const json = gpt2Tokenizer() as { added_tokens: object[] };
  const joining = { ...json, added_tokens: [...json.added_tokens, { id: 50_400, content: "\nSay" }] };
  for (const tokenizer of [json, joining].map((each) => createTokenizer(each, "tokenizer.json"))) {
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
      }
  }
});
