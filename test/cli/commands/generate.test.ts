import assert from "node:assert/strict";
import { test } from "node:test";
import { sayable } from "../../../cli/commands/generate.js";
import { END_KEY } from "../../../core/text/prompt.js";
import type { Decoder } from "../../../core/text/tokenizer.js";

/** Each token is a piece of the text. */
function pieces(...texts: string[]): { tokens: AsyncGenerator<number>; tokenizer: Decoder } {
  const stream = () => (id?: number) => (id === undefined ? "" : texts[id]!);
  const tokens = async function* () {
    for (const id of texts.keys()) yield await Promise.resolve(id);
  };
  return { tokens: tokens(), tokenizer: { stream, decode: () => "" } };
}

async function said(...texts: string[]): Promise<string[]> {
  const { tokens, tokenizer } = pieces(...texts);
  const parts: string[] = [];
  for await (const text of sayable(tokens, tokenizer, END_KEY)) if (text !== "") parts.push(text);
  return parts;
}

test("an answer is said as it comes, and ends before the end key however that is cut", async () => {
  assert.deepEqual(await said("The", " sky", " is blue.", "\n", "\n", "###", " End", "more"), ["The", " sky", " is blue."]);
  assert.equal((await said("Blue", "\n\n#", "## E", "nd")).join(""), "Blue");
  assert.equal((await said("Blue\n\n### End")).join(""), "Blue");
});

test("what only looks like the end key is said after all", async () => {
  assert.equal((await said("C", "#", " is", " a", " lang", "uage")).join(""), "C# is a language");
  assert.equal((await said("### ", "Enough", " said")).join(""), "### Enough said");
  assert.equal((await said("one\n", "two\n")).join(""), "one\ntwo");
});
