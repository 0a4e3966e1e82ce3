import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conversation, Turn } from "../../../core/text/conversation.js";
import { openPrompt } from "../../../core/text/open-prompt.js";
import { PromptProblem, type Prompt, type PromptSetting } from "../../../core/text/prompt-kind.js";
import { requestIn, responseIn } from "../../../core/text/request.js";
import { compileTemplate } from "../../../infra/text/jinja.js";

const open = (setting: PromptSetting): Prompt =>
  openPrompt(setting, { bosToken: "<s>", eosToken: "</s>", endToken: "</s>", chatTemplate: null, added: ["<s>", "</s>"] }, compileTemplate);
const row = (turn: Partial<Turn>, system = "", history: readonly Turn[] = []): Conversation => ({
  system,
  turns: [...history, { instruction: "Name it.", input: "", output: "Blue.", scored: true, ...turn }],
});
const earlier: Turn = { instruction: "Hello?", input: "", output: "Hi.", scored: true };
const scoredOf = ({ text, scored }: ReturnType<Prompt["write"]>): string[] => scored.map(([first, end]) => text.slice(first, end));

test("alpaca is Stanford's text: no line feed before the answer, loss on the answer, EOS after it", () => {
  const { write, ask, stop } = open("alpaca");
  assert.equal(stop, "</s>");
  const without =
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n" +
    "### Instruction:\nName it.\n\n### Response:";
  const withInput =
    "Below is an instruction that describes a task, paired with an input that provides further context. " +
    "Write a response that appropriately completes the request.\n\n### Instruction:\nName it.\n\n### Input:\nthe sky\n\n### Response:";
  assert.equal(ask(row({})), without);
  assert.equal(ask(row({ input: "the sky" })), withInput);
  const written = write(row({ input: "the sky" }));
  assert.deepEqual([written.text, scoredOf(written), written.needsEos], [`${withInput}Blue.`, ["Blue."], true]);
});

test("a template of one's own: loss from where the output starts, and EOS after the text", () => {
  const { write, ask, stop } = open({ template: "Q: {{ instruction }}{{ ' (' ~ input ~ ')' if input }}\nA: {{ output }}\n--" });
  assert.deepEqual([ask(row({})), ask(row({ input: "sky" })), stop], ["Q: Name it.\nA: ", "Q: Name it. (sky)\nA: ", "</s>"]);
  const written = write(row({ input: "sky" }));
  assert.deepEqual([written.text, scoredOf(written), written.needsEos], ["Q: Name it. (sky)\nA: Blue.\n--", ["Blue.\n--"], true]);
});

test("a template has the names that it is promised", () => {
  const { write } = open({
    template:
      "{{ bos_token }}{{ system }}|{% for question, answer in history %}{{ question }}>{{ answer }}|{% endfor %}" +
      "{{ instruction }}>{{ input }}>{{ output | trim }}{{ eos_token }}",
  });
  const { text } = write(row({ input: "sky", output: " Blue. " }, "Be brief.", [earlier]));
  assert.equal(text, "<s>Be brief.|Hello?>Hi.|Name it.>sky>Blue.</s>");
  const messages = open({ template: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: {{ output }}" });
  assert.equal(
    messages.write(row({}, "Be brief.", [earlier])).text,
    "system: Be brief.\nuser: Hello?\nassistant: Hi.\nuser: Name it.\nassistant: Blue.",
  );
});

test("a template that goes through messages alone writes whole conversations, and EOS if nothing else ends them", () => {
  const { write, stop } = open({ template: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" });
  const written = write(row({}, "", [earlier]));
  assert.equal(written.text, "user: Hello?\nassistant: Hi.\nuser: Name it.\nassistant: Blue.\n");
  assert.deepEqual([scoredOf(written), written.needsEos, stop], [[" Hi.", " Blue."], true, "</s>"]);
});

test("what a prompt has no room for is refused as a whole, and says what to set", () => {
  const template = { template: "{{ instruction }}: {{ output }}" };
  for (const [setting, conversation, missing] of [
    ["dolly", row({}, "Be brief."), "a system message, and the prompt dolly"],
    ["alpaca", row({}, "", [earlier]), "earlier turns (history), and the prompt alpaca"],
    [template, row({ input: "sky" }), "an input, and preprocess.prompt.template"],
    [template, row({}, "Be brief."), "a system message"],
    [{ template: "{{ output }}" }, row({}), "an instruction"],
  ] as const)
    assert.throws(
      () => open(setting).write(conversation),
      (error) => error instanceof PromptProblem && error.whole && error.message.includes(missing) && error.message.includes('"chat"'),
      missing,
    );
});

test("a template that cannot be used is refused before any row", () => {
  assert.throws(() => open({ template: "{{ question }} {{ output }}" }), {
    name: "UserError",
    message: /names=question.*known=instruction, input/,
  });
  assert.throws(() => open({ template: "{% if output %}x{{ output }}" }), { name: "UserError", message: /has no \{% endif %\}.*line=1/ });
  assert.throws(() => open({ template: "{{ instruction }} output messages" }), {
    name: "UserError",
    message: /must write \{\{ output \}\}/,
  });
  assert.throws(
    () => open({ template: "{{ instruction }}{% if output | length > 3 %}a{% else %}b{% endif %}{{ output }}" }).write(row({})),
    /where it starts is unknown/,
  );
});

test("a request is found again in its text, and an answer in what follows", () => {
  for (const setting of ["dolly", "alpaca", { template: "<<{{ instruction }}||{{ input }}>>{{ output }}" }] as const) {
    const prompt = open(setting);
    for (const bos of ["", "<s>"]) {
      assert.deepEqual(requestIn(bos + prompt.ask(row({ input: "the\nsky" })), prompt), { instruction: "Name it.", input: "the\nsky" });
      const { instruction } = requestIn(bos + prompt.ask(row({ instruction: "Name\n\nit." })), prompt);
      assert.equal(instruction, "Name\n\nit.");
    }
    assert.deepEqual(requestIn("something else", prompt), {});
    assert.equal(responseIn(` Blue. ${prompt.stop} and more`, prompt), "Blue.");
  }
});
