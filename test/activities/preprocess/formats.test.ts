import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { preprocess } from "../../../activities/preprocess/preprocess.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { metricWords } from "../../../core/stages/words.js";
import type { Progress, StageResult } from "../../../core/stages/results.js";
import { END_KEY, promptOf } from "../../../core/text/prompt.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { openTokens } from "../../../infra/dataset/tokens.js";
import { byteTokenizer, dependencies, writeModel } from "./helpers.js";

const directory = mkdtempSync(join(tmpdir(), "roslin-formats-"));
after(() => rmSync(directory, { recursive: true }));
let made = 0;

const SPECIAL = { "<s>": 257, "</s>": 256 };

/** A model whose tokenizer has a token a byte, BOS and EOS. */
function modelWith(extra: object = {}): string {
  const model = writeModel(
    join(directory, `model-${made++}`),
    { bos_token_id: SPECIAL["<s>"] },
    {
      ...byteTokenizer,
      added_tokens: Object.entries(SPECIAL).map(([content, id]) => ({ id, content })),
    },
  );
  writeFileSync(join(model, "tokenizer_config.json"), JSON.stringify({ bos_token: "<s>", eos_token: "</s>", ...extra }));
  return model;
}

interface Run {
  readonly result: StageResult<"preprocess">;
  /** text of each row, and of its parts with loss */
  readonly rows: readonly (readonly [text: string, ...scored: string[]])[];
  /** notes that stay */
  readonly notes: readonly string[];
}

async function run(files: unknown, config: { preprocess?: object; dataset?: object } = {}, model = modelWith()): Promise<Run> {
  const path = join(directory, `rows-${made++}.json`);
  writeFileSync(path, JSON.stringify(files));
  const inputs = [await artifactOf("model", model), await artifactOf("dataset", path)];
  const parsed = parseRunConfig({ ...config, preprocess: { testRows: 0, maxRejectShare: 0, ...config.preprocess } });
  const notes: string[] = [];
  const progress = ({ note, lasting }: Progress): void => void (lasting === true && notes.push(note!));
  const request = { root: join(directory, `root-${made++}`), config: parsed, inputs };
  const result = await preprocess(dependencies, request, { signal: new AbortController().signal, progress });
  const { train } = await openTokens(fileURLToPath(result.outputs[0]!.uri));
  const rows = Array.from({ length: train.count }, (_, index): [string, ...string[]] => {
    const { inputIds, labels } = train.row(index);
    const parts: number[][] = [];
    for (const [at, label] of labels.entries())
      if (label !== -100) {
        if (at === 0 || labels[at - 1] === -100) parts.push([]);
        parts.at(-1)!.push(label);
      }
    return [textOf(inputIds), ...parts.map(textOf)];
  });
  return { result, rows, notes };
}

/** Bytes as text, and special tokens by their names. */
function textOf(ids: ArrayLike<number>): string {
  const names = new Map(Object.entries(SPECIAL).map(([name, id]) => [id, name]));
  return Buffer.concat(Array.from(ids, (id) => Buffer.from(names.get(id) ?? [id]))).toString();
}

const fails = async (rows: unknown, config: Parameters<typeof run>[1], message: RegExp, model?: string): Promise<void> =>
  await assert.rejects(run(rows, config, model), (error: Error) => {
    assert.ok(error instanceof UserError, error.stack);
    assert.match(error.message, message);
    return true;
  });

const dolly = (instruction: string, input: string, output: string): [string, string] => [
  `${promptOf({ instruction, input })}${output}\n\n${END_KEY}`,
  `${output}\n\n${END_KEY}`,
];

test("databricks-dolly-15k's rows are read, and its category is named", async () => {
  const rows = [
    { instruction: "Sum up.", context: "A long text.", response: "Short.", category: "summarization" },
    { instruction: "Name it.", context: "", response: "Blue.", category: "open_qa" },
  ];
  const { rows: written, result, notes } = await run(rows);
  assert.deepEqual(written, [dolly("Sum up.", "A long text.", "Short."), dolly("Name it.", "", "Blue.")]);
  assert.deepEqual([result.metrics.usedColumns, result.metrics.unusedColumns], ["instruction, context, response", "category"]);
  assert.match(metricWords(result.metrics), /columns instruction, context, response, NOT USED: category/);
  assert.deepEqual(notes, ["columns with content that are not used: category"]);
});

test("context is the input beside output, in whichever row it has content", async () => {
  const rows = [
    { instruction: "a", context: "b", output: "c" },
    { instruction: "d", input: "e", output: "f" },
  ];
  const { rows: written, notes } = await run(rows);
  assert.deepEqual(written, [dolly("a", "b", "c"), dolly("d", "e", "f")]);
  assert.deepEqual(notes, []);
});

test("a column that has content in one late row alone is named", async () => {
  const rows = Array.from({ length: 5000 }, (_, n) => ({
    instruction: `Say ${n}.`,
    output: `${n}`,
    ...(n === 4998 ? { source: "web" } : {}),
  }));
  const { result } = await run(rows);
  assert.equal(result.metrics.unusedColumns, "source");
});

test("a system message or a history without room is refused before training, in whichever row", async () => {
  const plain = Array.from({ length: 5000 }, (_, n) => ({ instruction: `Say ${n}.`, output: `${n}` }));
  for (const [extra, what] of [
    [{ system: "Be brief." }, "a system message"],
    [{ history: [["a", "b"]] }, "earlier turns \\(history\\)"],
  ] as const) {
    const odd = { instruction: "a", output: "b", ...extra };
    const message = new RegExp(`a row has ${what}, and the prompt dolly has no room for it: set preprocess.prompt to "chat"`);
    await fails([odd, ...plain], {}, message);
    await fails([...plain, odd], { preprocess: { maxRejectShare: 1 } }, message);
    await fails([...plain, odd], { preprocess: { prompt: "alpaca" } }, /the prompt alpaca has no room/);
  }
  await fails(
    [
      {
        messages: [
          { role: "user", content: "a" },
          { role: "assistant", content: "b" },
          { role: "user", content: "c" },
          { role: "assistant", content: "d" },
        ],
      },
    ],
    {},
    /earlier turns/,
  );
});

test("alpaca's prompt ends with EOS, which is scored", async () => {
  const { rows } = await run([{ instruction: "Name it.", output: "Blue." }], { preprocess: { prompt: "alpaca" } });
  assert.match(rows[0]![0], /### Response:Blue\.<\/s>$/);
  assert.deepEqual(rows[0]!.slice(1), ["Blue.</s>"]);
});

test("a template's EOS is not written twice, and a row that is cut has none", async () => {
  const row = { instruction: "Name it.", output: "Blue." };
  for (const template of ["{{ instruction }}>{{ output }}", "{{ instruction }}>{{ output }}{{ eos_token }}"]) {
    assert.deepEqual((await run([row], { preprocess: { prompt: { template } } })).rows, [["Name it.>Blue.</s>", "Blue.</s>"]]);
    const cut = await run([row], { preprocess: { prompt: { template }, maxLength: 12 } });
    assert.deepEqual(cut.rows, [["Name it.>Blu", "Blu"]]);
    assert.equal(cut.result.metrics.truncated, 1);
  }
});

test("system and history go where a template writes them", async () => {
  const template = "{{ system }}{% for q, a in history %}[{{ q }}|{{ a }}]{% endfor %}[{{ instruction }}|{{ output }}";
  const { rows } = await run([{ instruction: "a", output: "b", system: "S", history: [["q", "r"]] }], {
    preprocess: { prompt: { template } },
  });
  assert.deepEqual(rows, [["S[q|r][a|b</s>", "b</s>"]]);
});

test("columns of any names are read, and the others are named", async () => {
  const dataset = { columns: { instruction: "question", output: "answer" } };
  const { rows, result } = await run([{ id: 7, question: "a", answer: "b", empty: "" }], { dataset });
  assert.deepEqual(rows, [dolly("a", "", "b")]);
  assert.deepEqual([result.metrics.usedColumns, result.metrics.unusedColumns], ["question, answer", "id"]);
  await fails(
    [{ question: "a", answer: "b" }],
    { dataset: { columns: { ...dataset.columns, input: "passage" } } },
    /column=passage, got=question, answer/,
  );
});

test("columns of two formats are refused, also when the second comes late", async () => {
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ];
  await fails([{ instruction: "a", output: "b", messages }], {}, /two formats.*columns=instruction and messages/);
  const late = [...Array.from({ length: 5000 }, (_, n) => ({ instruction: `Say ${n}.`, output: `${n}` })), { messages }];
  await fails(late, { preprocess: { maxRejectShare: 0.1 } }, /two formats/);
  const { rows } = await run([{ instruction: "a", output: "b", messages }], { dataset: { format: "alpaca" } });
  assert.deepEqual(rows, [dolly("a", "", "b")]);
});

test("rows without loss are counted and left out; a dataset of them alone is refused", async () => {
  const masked = { input_ids: [1, 2, 3], labels: [-100, -100, -100] };
  const { rows, result } = await run([masked, { input_ids: [65, 66], labels: [-100, 66] }, { input_ids: [9], labels: [9] }]);
  assert.deepEqual(rows, [["AB", "B"]]);
  assert.deepEqual([result.metrics.withoutLoss, result.metrics.rejected, result.metrics.trainRows], [2, 0, 1]);
  assert.match(metricWords(result.metrics), /2 left out because no token carries loss/);
  await fails([masked, masked], {}, /no token of the training rows carries loss.*rows=2, withoutLoss=2/);
  const long = { instruction: "x".repeat(50), output: "y" };
  const template = "{{ instruction }}{{ output }}";
  const cut = await run([long, { instruction: "x", output: "y" }], { preprocess: { prompt: { template }, maxLength: 50 } });
  assert.deepEqual([cut.rows.length, cut.result.metrics.withoutLoss, cut.result.metrics.rejected], [1, 1, 0]);
});

test("BOS twice is refused on the first rows", async () => {
  const row = { instruction: "a", output: "b" };
  const template = "{{ bos_token }}{{ instruction }}>{{ output }}";
  assert.deepEqual((await run([row], { preprocess: { prompt: { template } } })).rows, [["<s>a>b</s>", "b</s>"]]);
  await fails(
    [row],
    { preprocess: { prompt: { template: `{{ bos_token }}${template}` } } },
    /begins with the BOS token twice \(id 257\).*row=0/,
  );
  await fails([{ ...row, instruction: "<s>a" }], { preprocess: { prompt: { template } } }, /BOS token twice/);
  await fails([{ input_ids: [257, 257, 5], labels: [-100, -100, 5] }], {}, /BOS token twice/);
});

test("holding more rows out than training on is said loudly", async () => {
  const rows = Array.from({ length: 20 }, (_, n) => ({ instruction: `Say ${n}.`, output: `${n}` }));
  const { result, notes } = await run(rows, { preprocess: { testRows: 15 } });
  const warning = "WARNING: MORE ROWS ARE HELD OUT (15) THAN TRAINED ON (5): lower preprocess.testRows";
  assert.deepEqual(notes, [warning]);
  assert.ok(metricWords(result.metrics).includes(warning));
  assert.deepEqual((await run(rows, { preprocess: { testRows: 10 } })).notes, []);
});

const CHATML =
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

test("conversations of ShareGPT and OpenAI are written with the model's chat template, each answer with loss", async () => {
  const turns = [
    ["system", "Be brief."],
    ["user", "a"],
    ["assistant", "b"],
    ["user", "c"],
    ["assistant", "d"],
  ] as const;
  const names = { system: "system", user: "human", assistant: "gpt" };
  const text = turns.map(([role, content]) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join("");
  const expected = [[text, "b<|im_end|>", "d<|im_end|>"]];
  const model = modelWith({ chat_template: CHATML });
  const chat = { preprocess: { prompt: "chat" } };
  for (const rows of [
    [{ conversations: turns.map(([role, value]) => ({ from: names[role], value })), id: "x" }],
    [{ messages: turns.map(([role, content]) => ({ role, content })), id: "x" }],
    [{ instruction: "c", output: "d", system: "Be brief.", history: [["a", "b"]], id: "x" }],
  ]) {
    const { rows: written, result } = await run(rows, chat, model);
    assert.deepEqual(written, expected);
    assert.equal(result.metrics.unusedColumns, "id");
  }
  const timed = turns.map(([role, content]) => ({ role, content, time: 5 }));
  assert.equal((await run([{ messages: timed }], chat, model)).result.metrics.unusedColumns, "messages[].time");
});

test("a model without a chat template, and a template that is wrong, are refused before any row is made", async () => {
  const row = { instruction: "a", output: "b" };
  await fails([row], { preprocess: { prompt: "chat" } }, /the model has no chat template/);
  await fails([row], { preprocess: { prompt: { template: "a\n{% if x %}{{ output }}" } } }, /has no \{% endif %\}.*line=2/);
  await fails(
    [row],
    { preprocess: { prompt: "chat" } },
    /is not a Jinja template.*line=1/,
    modelWith({ chat_template: "{% for m in messages %}" }),
  );
});

test("a file's rows are noted for those who look at the stage", async () => {
  const { result } = await run([{ instruction: "a", output: "b" }]);
  const sources = JSON.parse(readFileSync(join(fileURLToPath(result.outputs[0]!.uri), "..", "sources.json"), "utf8")) as unknown[];
  assert.equal(sources.length, 1);
});

test("a column without a name, as pandas writes its index, is named when it is not used", async () => {
  const { result, notes } = await run([{ instruction: "a", output: "b", "": 1 }]);
  assert.equal(result.metrics.unusedColumns, '""');
  assert.deepEqual(notes, ['columns with content that are not used: ""']);
});

test("a dataset without rows, and one of texts alone, are refused with what to do", async () => {
  await fails([], {}, /the dataset has no rows/);
  await fails(
    [{ text: "### Human: a ### Assistant: b" }],
    {},
    /one column.*cut each row into an instruction and an output.*got=column text/,
  );
  await fails([{ question: "a", answer: "b" }], {}, /of no format.*got=columns question, answer, how=\{"dataset": \{"columns"/);
});
