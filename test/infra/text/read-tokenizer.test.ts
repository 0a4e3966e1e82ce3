import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { hasTokenizer, readTokenizer } from "../../../infra/text/read-tokenizer.js";
import { applied, idLists, type Change } from "../../core/text/figures.js";

interface Case {
  readonly name: string;
  /** by name; of tokenizer.json what it changes of the base */
  readonly files: Readonly<Record<string, unknown>>;
  /** by transformers' AutoTokenizer, special tokens included; null: it reads no such directory */
  readonly ids: string | null;
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

const recorded = ["directories", "fuzz"].map(
  (name) => JSON.parse(readFileSync(new URL(`../../../../test/reference/tokenizer-${name}.json`, import.meta.url), "utf8")) as Recorded,
);
const { tokenizer } = recorded[0]!;

const root = mkdtempSync(join(tmpdir(), "roslin-tokenizers-"));
after(() => rmSync(root, { recursive: true }));

function write(name: string, files: Case["files"]): string {
  const directory = join(root, name.replace(/\W/g, "-"));
  mkdirSync(directory, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    const whole = file === "tokenizer.json" ? applied(tokenizer, content as Change) : content;
    writeFileSync(join(directory, file), typeof whole === "string" ? whole : JSON.stringify(whole));
  }
  return directory;
}

for (const { texts, cases } of recorded)
  for (const { name, files, says, ids, ...tokens } of cases)
    test(says === undefined ? `transformers' ids: ${name}` : `refused by name: ${name}`, () => {
      const directory = write(name, files);
      if (says !== undefined) {
        const isNamed = (error: Error): boolean =>
          error instanceof UserError && error.message.includes(says) && error.message.includes(directory);
        assert.throws(() => readTokenizer(directory), isNamed, says);
        return;
      }
      const { encode, around, bosToken, eosToken, chatTemplate } = readTokenizer(directory);
      const got = texts.map((text) => [...around.before, ...encode(text), ...around.after]);
      assert.deepEqual(got, idLists(ids!));
      assert.deepEqual({ bosToken, eosToken, chatTemplate }, tokens);
    });

test("a directory has a tokenizer if its files are of a kind that Roslin reads", () => {
  const pair = { "vocab.json": {}, "merges.txt": "" };
  assert.equal(hasTokenizer(write("whole", { "tokenizer.json": {} })), true);
  assert.equal(hasTokenizer(write("pair", pair)), true);
  assert.equal(hasTokenizer(write("none", {})), false);
  assert.equal(hasTokenizer(write("half", { "vocab.json": {} })), false);
  // transformers would read the other one
  for (const other of ["tokenizer.model", "tiktoken.model", "tekken.json"]) {
    const directory = write(`pair and ${other}`, { ...pair, [other]: "x" });
    assert.equal(hasTokenizer(directory), false);
    assert.throws(
      () => readTokenizer(directory),
      (error: Error) => error instanceof UserError && error.message.includes(other),
    );
  }
  const alone = write("sentencepiece", { "tokenizer.model": "x" });
  assert.throws(() => readTokenizer(alone), /tokenizer\.model is SentencePiece's vocabulary, which Roslin doesn't read/);
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
