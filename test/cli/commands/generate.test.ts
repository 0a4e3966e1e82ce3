import assert from "node:assert/strict";
import { test } from "node:test";
import { promptIn, samplingNamed } from "../../../cli/commands/generate.js";
import { AnswerText } from "../../../core/text/stopping.js";
import { GREEDY } from "../../../core/generation/sampling.js";
import { UserError } from "../../../core/errors.js";
import { END_KEY } from "../../../core/text/prompt.js";
import type { Decoder } from "../../../core/text/tokenizer.js";

/** The text of tokens before `stop`, as it can be said. */
async function* sayable(tokens: AsyncIterable<number>, tokenizer: Decoder, stop: string): AsyncGenerator<string> {
  const answer = new AnswerText(tokenizer, [stop]);
  for await (const token of tokens) {
    const ready = answer.add(token);
    if (ready !== "") yield ready;
    if (answer.isStopped) return;
  }
  yield answer.end();
}

/** Each token is a piece of the text. */
function pieces(...texts: string[]): { tokens: AsyncGenerator<number>; tokenizer: Decoder } {
  const stream = () => (id?: number) => (id === undefined ? "" : texts[id]!);
  const tokens = async function* () {
    for (const id of texts.keys()) yield await Promise.resolve(id);
  };
  return { tokens: tokens(), tokenizer: { stream, decode: () => "" } };
}

test("a published model is asked with the prompt that its rows were written with", () => {
  const chainWith = (settings: object): Parameters<typeof promptIn>[0] => ({
    chain: [{ stage: "preprocess", version: 4, settings, inputs: [], key: "", outputs: [] }],
  });
  assert.equal(promptIn(chainWith({ prompt: "chat", maxLength: 5 })), "chat");
  assert.deepEqual(promptIn(chainWith({ prompt: { template: "{{ output }}" } })), { template: "{{ output }}" });
  // as earlier versions wrote it
  assert.equal(promptIn(chainWith({ maxLength: 5 })), "dolly");
  assert.equal(promptIn({ chain: [] }), "dolly");
});

test("an answer ends before what its prompt says, and with EOS alone if it says nothing", async () => {
  const { tokens, tokenizer } = pieces("Blue", ".", "<|im", "_end|>", "more");
  const parts: string[] = [];
  for await (const text of sayable(tokens, tokenizer, "<|im_end|>")) parts.push(text);
  assert.equal(parts.join(""), "Blue.");
  const all = pieces("Blue", "\n", "### End");
  let whole = "";
  for await (const text of sayable(all.tokens, all.tokenizer, "")) whole += text;
  assert.equal(whole, "Blue\n### End");
});

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

test("options name how tokens are chosen; what cannot be used is refused with what was expected", () => {
  assert.deepEqual(samplingNamed({}), { ...GREEDY, seed: 42 });
  assert.deepEqual(samplingNamed({ "top-p": "0.9", "top-k": "5", "repetition-penalty": "1.2", seed: "7" }), {
    temperature: 1,
    topP: 0.9,
    topK: 5,
    repetitionPenalty: 1.2,
    seed: 7,
  });
  assert.equal(samplingNamed({ temperature: "0.5" }).temperature, 0.5);
  assert.throws(() => samplingNamed({ temperature: "1e-38" }), /expected=0, or a number from 0.000001 on, got=1e-38/);
  assert.throws(() => samplingNamed({ "repetition-penalty": "1e-46" }), /expected=a number from 0.000001 on, got=1e-46/);
  for (const [option, value] of Object.entries({ temperature: "-1", "top-p": "0", "top-k": "1.5", "repetition-penalty": "", seed: "x" }))
    assert.throws(
      () => samplingNamed({ [option]: value }),
      (error) => error instanceof UserError && error.message.startsWith(`--${option} `) && /expected=/.test(error.message),
    );
});
