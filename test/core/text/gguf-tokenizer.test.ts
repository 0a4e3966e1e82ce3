import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { UserError } from "../../../core/errors.js";
import { convertGgufTokenizer, type GgufVocabulary } from "../../../core/text/gguf-tokenizer.js";
import { mergesOfScores } from "../../../core/text/gguf-merges.js";
import { createTokenizer } from "../../../core/text/tokenizer.js";
import { readGguf } from "../../../infra/weights/convert-gguf.js";

const FILES = join(import.meta.dirname, "../../../../test/reference/gguf-files");
const read = (name: string): unknown => JSON.parse(readFileSync(join(FILES, name), "utf8"));
type Ids = readonly (readonly [text: string, ids: readonly number[]])[];
const words = read("words.json") as { tokens: string[]; merges: string[]; ids: Record<string, Ids> };
const llama = read("llama.json") as { merges: [string, string][]; ids: Ids };

const CONTROL = 3;
const byteLevel: GgufVocabulary = {
  model: "gpt2",
  words: "gpt-2",
  tokens: words.tokens,
  types: words.tokens.map((_, id) => (id === words.tokens.length - 1 ? CONTROL : 1)),
  scores: null,
  merges: words.merges,
  special: { bos_token: null, eos_token: null, unk_token: null, pad_token: null },
  addBos: false,
  addEos: null,
  prefixSpace: null,
};
const LAST = words.tokens.length - 1;
const convert = (change: Partial<GgufVocabulary>, base = byteLevel): ReturnType<typeof convertGgufTokenizer> =>
  convertGgufTokenizer({ ...base, ...change }, 64, "m.gguf");

const sentencePiece: GgufVocabulary = {
  ...byteLevel,
  model: "llama",
  tokens: ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁ab", "<0x41>"],
  types: [2, 3, 3, 1, 1, 1, 1, 1, 6],
  scores: [0, 0, 0, -1, -2, -3, -4, -5, 0],
  merges: null,
  special: { bos_token: 1, eos_token: 2, unk_token: 0, pad_token: null },
  addBos: null,
};

for (const [kind, ids] of Object.entries(words.ids))
  test(`words are split as the models' own tokenizer.json does it: ${kind}`, () => {
    const { tokenizerJson } = convert({ words: kind });
    const tokenizer = createTokenizer(tokenizerJson, "made");
    for (const [text, expected] of ids) assert.deepEqual(Array.from(tokenizer.encode(text)), expected, JSON.stringify(text));
  });

test("a SentencePiece tokenizer has the merges that transformers derives from its scores, and the same ids", () => {
  const { texts } = readGguf(join(FILES, "llama.gguf"));
  const json = JSON.parse(texts.get("tokenizer.json")!) as { model: { merges: unknown } };
  assert.deepEqual(json.model.merges, llama.merges);
  const config = JSON.parse(texts.get("tokenizer_config.json")!) as Record<string, unknown>;
  const tokenizer = new HubTokenizer(json, config);
  for (const [text, expected] of llama.ids) assert.deepEqual(tokenizer.encode(text).ids, expected, JSON.stringify(text));
  assert.deepEqual(config, {
    bos_token: "<s>",
    eos_token: "</s>",
    unk_token: "<unk>",
    clean_up_tokenization_spaces: false,
    model_max_length: 64,
    tokenizer_class: "PreTrainedTokenizerFast",
  });
});

test("BOS and EOS are put around texts as the file says, or as llama.cpp does where it does not", () => {
  const special = { ...byteLevel.special, bos_token: LAST, eos_token: 0 };
  const around = (change: Partial<GgufVocabulary>): unknown =>
    createTokenizer(convert({ special, ...change }).tokenizerJson, "made").around;
  assert.deepEqual(around({}), { before: [], after: [] });
  assert.deepEqual(around({ addBos: true, addEos: true }), { before: [LAST], after: [0] });
  assert.deepEqual(around({ addBos: null }), { before: [], after: [] });
  assert.deepEqual(around({ addBos: null, words: "llama-bpe" }), { before: [LAST], after: [] });
});

test("a SentencePiece tokenizer puts a space before a text unless the file says no", () => {
  const schemeOf = (prefixSpace: boolean | null): unknown =>
    (convert({ prefixSpace }, sentencePiece).tokenizerJson as { pre_tokenizer: { prepend_scheme: string } }).pre_tokenizer.prepend_scheme;
  assert.deepEqual([schemeOf(null), schemeOf(true), schemeOf(false)], ["first", "first", "never"]);
});

test("tokens that are cut out of texts keep their own spelling, others are spelled in bytes", () => {
  const tokens = [...words.tokens, "<｜end｜>", "plain é", "<think>"];
  const types = [...Array.from(byteLevel.types), CONTROL, 1, 4];
  const { tokenizerJson } = convert({ tokens, types });
  const { added_tokens: added, model } = tokenizerJson as {
    added_tokens: { content: string; special: boolean }[];
    model: { vocab: object };
  };
  assert.deepEqual(
    added.map(({ content, special }) => [content, special]),
    [
      ["<|user|>", true],
      ["<｜end｜>", true],
      ["<think>", false],
    ],
  );
  assert.equal((model.vocab as Record<string, number>)["plainĠÃ©"], LAST + 2);
  const tokenizer = createTokenizer(tokenizerJson, "made");
  assert.deepEqual(Array.from(tokenizer.encode("<｜end｜><think>")), [LAST + 1, LAST + 3]);
});

test("what is not read, or does not fit together, is refused by its name", () => {
  const refused = (message: RegExp, change: Partial<GgufVocabulary>, base = byteLevel): void =>
    assert.throws(
      () => convert(change, base),
      (error) => {
        assert.ok(error instanceof UserError, String(error));
        assert.match(error.message, message);
        return error.message.includes("file=m.gguf");
      },
    );
  refused(/tokenizer of a kind that is not read.*tokenizer\.ggml\.model, expected=gpt2 or llama, got=bert/, { model: "bert" });
  refused(/of a kind that is not read.*got=constructor/, { model: "constructor" });
  refused(/splits texts in a way that is not read.*expected=gpt-2, smollm.*got=deepseek-coder/, { words: "deepseek-coder" });
  refused(/doesn't say how its tokenizer splits texts/, { words: null });
  refused(/has no merges/, { merges: null });
  refused(/has neither merges nor scores/, { scores: null }, sentencePiece);
  refused(/not equally many.*expected=9, got=1/, { types: [1] }, sentencePiece);
  refused(
    /special token that its vocabulary lacks.*token=eos_token, tokens=9, got=9/,
    { special: { ...sentencePiece.special, eos_token: 9 } },
    sentencePiece,
  );
  refused(/wants a token around texts that it does not name.*token=eos_token/, { addEos: true });
  refused(
    /has a token twice.*token="a", ids=4, 5/,
    { tokens: sentencePiece.tokens.map((token) => (token === "b" ? "a" : token)) },
    sentencePiece,
  );
  refused(/merge is not one of two tokens into a third.*index=0, got="a  b"/, { merges: ["a  b"] });
  refused(/merge is not one of two tokens/, { merges: ["a zz"] });
  refused(/special token without a text.*id=1/, { tokens: sentencePiece.tokens.with(1, "") }, sentencePiece);
  assert.throws(() => mergesOfScores(new Map(), ["x".repeat(65)], [0], "m.gguf"), /token that is too long for merges.*limit=64 characters/);
});

test("tokens whose texts mean something to JavaScript are tokens as others", () => {
  const tokens = [...sentencePiece.tokens, "__proto__", "12", "constructor"];
  const types = [...Array.from(sentencePiece.types), 1, 1, 1];
  const scores = [...Array.from(sentencePiece.scores!), -6, -7, -8];
  const { tokenizerJson } = convert({ tokens, types, scores }, sentencePiece);
  const { model } = JSON.parse(JSON.stringify(tokenizerJson)) as { model: { vocab: object } };
  assert.deepEqual(new Map(Object.entries(model.vocab)).get("__proto__"), 9);
  assert.equal(Object.keys(model.vocab).length, tokens.length);
});
