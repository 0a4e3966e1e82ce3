import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Conversation } from "../../../core/text/conversation.js";
import { openPrompt } from "../../../core/text/open-prompt.js";
import { PromptProblem, type Prompt } from "../../../core/text/prompt-kind.js";
import { compileTemplate } from "../../../infra/text/jinja.js";
import { requestIn, responseIn } from "../../../core/text/request.js";
import { readMessages } from "../../../core/rows/messages.js";

interface Case {
  readonly name: string;
  readonly bos: string;
  readonly eos: string;
  /** what ends an answer */
  readonly end: string;
  readonly template: string;
  readonly conversations: readonly {
    readonly conversation: string;
    readonly messages: readonly object[];
    /** null: the template refuses the conversation */
    readonly text: string | null;
    readonly scored?: readonly string[];
    readonly asked?: string;
  }[];
}

const cases = JSON.parse(readFileSync(new URL("../../../../test/reference/chat.json", import.meta.url), "utf8")) as readonly Case[];

function chat(template: string, { bos = "", eos = "</s>", added = ["</s>"] as readonly string[] } = {}): Prompt {
  return openPrompt("chat", { bosToken: bos, eosToken: eos, endToken: eos, chatTemplate: template, added }, compileTemplate);
}

const say = (...texts: readonly string[]): Conversation => ({
  system: "",
  turns: [...texts.keys()]
    .filter((at) => at % 2 === 0)
    .map((at) => ({ instruction: texts[at]!, input: "", output: texts[at + 1]!, scored: true })),
});

for (const { name, bos, eos, end, template, conversations } of cases)
  test(`${name}: text, answers and request are those of transformers`, () => {
    for (const added of [[bos, eos, end].filter(Boolean), []]) {
      const prompt = chat(template, { bos, eos, added });
      assert.equal(prompt.stop, end);
      for (const { conversation, messages, text, scored, asked } of conversations) {
        const row = readMessages(messages, "messages");
        if (text === null) {
          assert.throws(
            () => prompt.write(row),
            (error) =>
              error instanceof PromptProblem && error.whole && /no room for it.*system|system.*no room for it/i.test(error.message),
          );
          continue;
        }
        const written = prompt.write(row);
        assert.equal(written.text, text, conversation);
        assert.deepEqual(
          written.scored.map(([first, last]) => text.slice(first, last)),
          scored,
          conversation,
        );
        assert.equal(written.needsEos, false);
        assert.equal(prompt.ask(row), asked, conversation);
        if (row.turns.length === 1)
          assert.deepEqual(requestIn(asked!, prompt), {
            ...(row.system === "" ? {} : { system: row.system }),
            instruction: row.turns[0]!.instruction,
          });
        assert.equal(responseIn(text.slice(prompt.ask(row).length), prompt), row.turns.at(-1)!.output.trim());
      }
    }
  });

test("an answer with weight 0 carries no loss", () => {
  const [chatml] = cases;
  const row = say("a", "one", "b", "two");
  const { text, scored } = chat(chatml!.template).write({ ...row, turns: [{ ...row.turns[0]!, scored: false }, row.turns[1]!] });
  assert.deepEqual(
    scored.map(([first, last]) => text.slice(first, last)),
    ["two<|im_end|>"],
  );
});

test("an input follows its instruction on a line of its own", () => {
  const prompt = chat(cases[0]!.template);
  const turn = { instruction: "Translate.", input: "Guten Tag", output: "Hello", scored: true };
  assert.match(prompt.write({ system: "", turns: [turn] }).text, /user\nTranslate\.\nGuten Tag<\|im_end\|>/);
});

test("a template that knows no generation prompt is asked with what it puts before answers", () => {
  const prompt = chat("{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}");
  assert.equal(prompt.ask(say("Hi", "")), "<|user|>\nHi</s>\n<|assistant|>\n");
  const { text, scored } = prompt.write(say("Hi", "Hello"));
  assert.deepEqual(
    scored.map(([first, last]) => text.slice(first, last)),
    ["Hello</s>"],
  );
});

test("an answer is found after what a template writes before it", () => {
  const prompt = chat(
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
  );
  for (const answer of ["think", "", "yes"]) {
    const { text, scored } = prompt.write(say("a", answer));
    assert.deepEqual(
      scored.map(([first, last]) => text.slice(first, last)),
      [`<think></think>${answer}</s>`],
    );
  }
});

test("a template has all special tokens by their names, as in transformers", () => {
  const template = "{{ pad_token if pad_token is defined else 'none' }}{% for m in messages %}{{ m.content }}{{ sep_token }}{% endfor %}";
  const tokens = {
    bosToken: "",
    eosToken: "</s>",
    endToken: "</s>",
    named: { sep_token: "<sep>" },
    chatTemplate: template,
    added: ["<sep>"],
  };
  assert.equal(openPrompt("chat", tokens, compileTemplate).write(say("a", "b")).text, "nonea<sep>b<sep>");
});

const STRIPS_THINKING =
  "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}</s>" +
  "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

test("a template that changes earlier answers is refused by name, and only where it does", () => {
  const prompt = chat(STRIPS_THINKING);
  assert.equal(prompt.write(say("a", "<think>hm</think>one")).scored.length, 1);
  assert.equal(prompt.write(say("a", "one", "b", "<think>hm</think>two")).scored.length, 2);
  assert.throws(() => prompt.write(say("a", "<think>hm</think>one", "b", "two")), /does not write a message of the assistant as it is/);
});

test("a template that moves what stands before an answer is refused by name", () => {
  // as where the system message is put into the last question
  const moves =
    "{% for m in messages %}{% if m.role == 'user' %}[{{ '!' if loop.index0 >= (messages | length) - 2 else '' }}{{ m.content }}]{% else %}{{ m.content }}</s>{% endif %}{% endfor %}";
  const prompt = chat(moves);
  assert.equal(prompt.write(say("a", "one")).text, "[!a]one</s>");
  assert.throws(() => prompt.write(say("a", "one", "b", "two")), /writes the text before answer 1 in another way/);
});

test("a template that could not be learned from is refused before any row", () => {
  for (const [template, message] of [
    ["{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", /puts nothing after an answer/],
    ["{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}", /changes the answer/],
    ["{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}</s>{% endfor %}", /writes today's date/],
    ["{% for m in messages %}{{ m.content }}</s>", /line=1.*\{% for %\} has no \{% endfor %\}|\{% for %\} has no \{% endfor %\}.*line=1/],
  ] as const)
    assert.throws(() => chat(template), { name: "UserError", message });
  assert.throws(() => openPrompt("chat", { bosToken: "", eosToken: "", endToken: "", chatTemplate: null, added: [] }, compileTemplate), {
    name: "UserError",
    message: /no chat template/,
  });
});

test("a date that has a default is the default, whatever the day", () => {
  const template =
    "{% if strftime_now is defined %}{% set day = strftime_now('%d %b %Y') %}{% else %}{% set day = '26 Jul 2024' %}{% endif %}{{ day }}{% for m in messages %}|{{ m.content }}</s>{% endfor %}";
  assert.equal(chat(template).write(say("a", "b")).text, "26 Jul 2024|a</s>|b</s>");
});

test("tools that are none are none, as in transformers", () => {
  const template =
    "{% if tools is not none %}TOOLS{% endif %}{% if documents is defined and documents is not none %}DOCUMENTS{% endif %}{% for m in messages %}|{{ m.content }}</s>{% endfor %}";
  assert.equal(chat(template).write(say("a", "b")).text, "|a</s>|b</s>");
});

test("a text whose edges Python and JavaScript trim differently is refused by name", () => {
  const prompt = chat("{% for m in messages %}|{{ m.content | trim }}</s>{% endfor %}");
  for (const text of ["\ufeffa", "a\ufeff", "a \u0085", "\u001c a"])
    assert.throws(() => prompt.write(say(text, "b")), /begins or ends with U\+/);
  assert.equal(prompt.write(say("a\ufeffa", "\u00a0b\u2003")).text, "|a\ufeffa</s>|b</s>");
});
