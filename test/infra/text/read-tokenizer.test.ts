import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { openEncoder } from "../../../core/text/open-encoder.js";
import { readableTokenizer, readTokenizer } from "../../../infra/text/read-tokenizer.js";
import { applied, idLists, type Change } from "../../core/text/figures.js";

interface Case {
  readonly name: string;
  /** by name; of tokenizer.json what it changes of the base */
  readonly files: Readonly<Record<string, unknown>>;
  /** of the first texts, by transformers' AutoTokenizer, special tokens included; null: it reads no such directory */
  readonly ids: string | null;
  /** what transformers decodes the first of them to, if that is recorded */
  readonly decoded?: readonly string[];
  /** a word of what Roslin says of ids that are not those of tokenizer.json */
  readonly note?: string;
  readonly bosToken?: string | null;
  readonly eosToken?: string | null;
  readonly chatTemplate?: string | null;
  /** words of Roslin's refusal */
  readonly says?: string;
}

interface Recorded {
  readonly texts: readonly string[];
  readonly tokenizer: Change;
  readonly cases: readonly Case[];
}

const recorded = ["directories", "fuzz", "families"].flatMap(
  (name) =>
    JSON.parse(readFileSync(new URL(`../../../../test/reference/tokenizer-${name}.json`, import.meta.url), "utf8")) as
      | Recorded
      | readonly Recorded[],
);
const base = recorded[0]!.tokenizer;

const root = mkdtempSync(join(tmpdir(), "roslin-tokenizers-"));
after(() => rmSync(root, { recursive: true }));

function write(name: string, files: Case["files"], tokenizer: Change = base): string {
  const directory = join(root, name.replace(/\W/g, "-"));
  mkdirSync(directory, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    const whole = file === "tokenizer.json" ? applied(tokenizer, content as Change) : content;
    writeFileSync(join(directory, file), typeof whole === "string" ? whole : JSON.stringify(whole));
  }
  return directory;
}

for (const { texts, cases, tokenizer = base } of recorded)
  for (const { name, files, says, ids, decoded, note, ...tokens } of cases)
    test(says === undefined ? `transformers' ids: ${name}` : `refused by name: ${name}`, () => {
      const directory = write(name, files, tokenizer);
      if (says !== undefined) {
        const isNamed = (error: Error): boolean =>
          error instanceof UserError && error.message.includes(says) && error.message.includes(directory);
        assert.throws(() => readTokenizer(directory), isNamed, says);
        return;
      }
      const { encode, around, decode, difference, tables, bosToken, eosToken, chatTemplate } = readTokenizer(directory);
      const expected = idLists(ids!);
      const again = openEncoder(structuredClone(tables));
      for (const encoder of [encode, again.encode])
        assert.deepEqual(
          texts.slice(0, expected.length).map((text) => [...around.before, ...encoder(text), ...around.after]),
          expected,
        );
      assert.deepEqual({ bosToken, eosToken, chatTemplate }, tokens);
      for (const [index, text] of (decoded ?? []).entries()) assert.equal(decode(expected[index]!), text);
      const said = difference();
      if (note === undefined) assert.equal(said, null);
      else assert.match(said!, new RegExp(note));
    });

test("a directory without a tokenizer that Roslin reads is refused, and what it has instead is named", () => {
  const pair = { "vocab.json": {}, "merges.txt": "" };
  const refused = (name: string, files: Case["files"], message: RegExp): void => {
    const directory = write(name, files);
    assert.throws(
      () => readTokenizer(directory),
      (error: Error) => error instanceof UserError && message.test(error.message) && error.message.includes(directory),
    );
    assert.equal(readableTokenizer(directory), null);
  };
  refused("none", {}, /words need a tokenizer.*no tokenizer\.json, nor vocab\.json with merges\.txt/);
  refused("half", { "vocab.json": {} }, /no tokenizer\.json, and vocab\.json alone/);
  refused("sentencepiece", { "tokenizer.model": "x" }, /tokenizer\.model is SentencePiece's vocabulary, which Roslin doesn't read/);
  // transformers would read the other one
  refused("pair and sentencepiece", { ...pair, "tokenizer.model": "x" }, /tokenizer\.model/);
  refused("pair and tiktoken", { ...pair, "tiktoken.model": "x" }, /tiktoken\.model/);
  refused("pair and Mistral", { ...pair, "tekken.json": "{}" }, /tekken\.json/);
  refused(
    "a setting among special tokens",
    { "tokenizer.json": {}, "special_tokens_map.json": { add_prefix_space: true } },
    /field=add_prefix_space/,
  );
  assert.notEqual(readableTokenizer(write("whole, beside another", { "tokenizer.json": {}, "tokenizer.model": "x" })), null);
});

test("a file that is not JSON is named", () => {
  for (const file of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"]) {
    const directory = write(`torn ${file}`, { "tokenizer.json": {} });
    writeFileSync(join(directory, file), "{");
    assert.throws(
      () => readTokenizer(directory),
      (error: Error) => error instanceof UserError && error.message.includes(join(directory, file)),
    );
    writeFileSync(join(directory, file), "[]");
    assert.throws(
      () => readTokenizer(directory),
      (error: Error) => error instanceof UserError && error.message.includes(file),
    );
  }
});
