import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { preprocess } from "../../../activities/preprocess/preprocess.js";
import { describeSample, planQuestions } from "../../../activities/evaluate/samples.js";
import { openPrompt } from "../../../core/text/open-prompt.js";
import type { Progress } from "../../../core/stages/results.js";
import { openTokens } from "../../../infra/dataset/tokens.js";
import { compileTemplate } from "../../../infra/text/jinja.js";
import { endIdOf, promptTokens } from "../../../infra/text/prompt-tokens.js";
import { readTokenizer } from "../../../infra/text/read-tokenizer.js";
import { dependencies, requestFor, writeModel } from "./helpers.js";

interface Row {
  readonly input_ids: string;
  readonly labels: string;
}

interface Prompted {
  readonly config: object;
  readonly rows: readonly { readonly instruction: string; readonly input: string; readonly output: string }[];
  readonly chats: readonly (readonly { readonly role: string; readonly content: string }[])[];
  readonly made: Readonly<Record<"alpaca" | "dolly" | "chat", readonly Row[]>>;
}

const [{ tokenizer, prompted }] = JSON.parse(
  readFileSync(new URL("../../../../test/reference/tokenizer-families.json", import.meta.url), "utf8"),
) as [{ readonly tokenizer: object; readonly prompted: Prompted }];
const { rows, chats, made, config } = prompted;
const directory = mkdtempSync(join(tmpdir(), "roslin-families-"));
after(() => rmSync(directory, { recursive: true }));

const model = writeModel(join(directory, "model"), { vocab_size: 700, bos_token_id: 1, eos_token_id: 2 }, tokenizer);
writeFileSync(join(model, "tokenizer_config.json"), JSON.stringify(config));
const llama = readTokenizer(model);

for (const prompt of ["alpaca", "dolly", "chat"] as const)
  test(`rows of Llama's tokenizer in the prompt ${prompt} have transformers' tokens, and loss on the answers`, async () => {
    const source = join(directory, `${prompt}.json`);
    writeFileSync(source, JSON.stringify(prompt === "chat" ? chats.map((messages) => ({ messages })) : rows));
    const notes: string[] = [];
    const progress = ({ note, lasting }: Progress): void => void (lasting === true && notes.push(note!));
    const request = await requestFor(join(directory, prompt), model, source, { prompt, testRows: 0, maxRejectShare: 0 });
    const result = await preprocess(dependencies, request, { signal: new AbortController().signal, progress });
    const { train } = await openTokens(fileURLToPath(result.outputs[0]!.uri));
    assert.equal(train.count, made[prompt].length);
    for (const [index, { input_ids, labels }] of made[prompt].entries()) {
      const row = train.row(index);
      assert.equal(row.inputIds.join(" "), input_ids, `row ${index}`);
      assert.equal(row.labels.join(" "), labels, `row ${index}`);
    }
    assert.equal(notes.length, 1);
    assert.match(notes[0]!, /LlamaTokenizer, which are not everywhere those of tokenizer\.json: /);
    assert.equal(result.metrics.tokenizerNote, notes[0]);

    // as Llama 3 lists them
    const opened = openPrompt(prompt, promptTokens(llama, [600, 2]), compileTemplate);
    assert.equal(endIdOf(llama, [600, 2]), 2);
    assert.equal(opened.stop, prompt === "dolly" ? "### End" : "</s>");
    for (const question of planQuestions(train, 5)) {
      const sample = describeSample(question, question.expected, question.expected, llama, opened);
      const turns = prompt === "chat" ? chats[question.row]! : [];
      const [asked, answer] =
        prompt === "chat"
          ? [turns.find(({ role }) => role === "user")!.content, turns.find(({ role }) => role === "assistant")!.content]
          : [rows[question.row]!.instruction, rows[question.row]!.output];
      assert.equal(sample.tuned, answer.trim());
      assert.equal(sample.instruction, asked);
    }
  });
