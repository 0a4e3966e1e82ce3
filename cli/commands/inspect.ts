import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { WANTED } from "../../activities/common/stage.js";
import { REJECTS, SOURCES } from "../../activities/preprocess/gather.js";
import type { FileRows } from "../../activities/preprocess/source-notes.js";
import { doubledBos } from "../../core/rows/row-rules.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import type { PromptSetting } from "../../core/text/prompt-kind.js";
import type { Tokenizer } from "../../core/text/tokenizer.js";
import { IGNORED, type TokenRow } from "../../core/rows/token-rows.js";
import { UserError } from "../../core/errors.js";
import { outputNamed, type StageName, type StageResult } from "../../core/stages/results.js";
import { count } from "../../core/units.js";
import { compileTemplate } from "../../infra/text/jinja.js";
import { promptTokens } from "../../infra/text/prompt-tokens.js";
import type { ModelTokenizer } from "../../core/text/model-tokenizer.js";
import { readableTokenizer } from "../../infra/text/read-tokenizer.js";
import { readEosTokenIds, readModelConfig } from "../../infra/weights/read-model-config.js";
import { summaryLines } from "../show/row-summary.js";
import { openTokens } from "../../infra/dataset/tokens.js";
import type { Command } from "../shell/command.js";

/** Rows that are shown without --limit; --json prints all. */
const SHOWN = 10;

/** `roslin inspect`: rows as they are trained on. */
export const inspect: Command = {
  name: "inspect",
  summary: "show what the rows came to, and rows as they are trained on, the part without loss dimmed",
  usage: "inspect DIR [--split train|test] [--limit N] [--json]\nDIR is the stages' --dir",
  async run(args, environment) {
    const { directory, split, limit, json } = parse(args);
    const result = latest(directory, "preprocess");
    if (result === null)
      throw new UserError("nothing is preprocessed here yet: run `roslin stage preprocess` with this --dir first", { directory });
    const tokens = await openTokens(fileURLToPath(outputNamed(result.outputs, "tokens").uri));
    const rows = (["train", "test"] as const)
      .filter((name) => split === undefined || name === split)
      .flatMap((name) => Array.from({ length: tokens[name].count }, (_, index) => ({ ...tokens[name].row(index), split: name })))
      .sort((a, b) => a.source - b.source);
    const shown = rows.slice(0, limit ?? (json ? rows.length : SHOWN));
    const model = json ? null : findModel(directory, tokens.index.inputs.model);
    const tokenizer = model === null ? null : readableTokenizer(model);
    if (!json) summarize(result, rows, model, tokenizer);
    const colours = process.stdout.isTTY && environment.variables["NO_COLOR"] === undefined;
    // a reader that went away, as after `| head`, is not an error
    process.stdout.on("error", () => {});
    for (const row of shown) if (!(await print(json ? line(row) : text(row, tokenizer, colours)))) return 0;
    if (!json && shown.length < rows.length) console.error(`${shown.length} of ${rows.length} rows; --limit ${rows.length} shows all`);
    return 0;
  },
};

function parse(args: readonly string[]): {
  directory: string;
  split: "train" | "test" | undefined;
  limit: number | undefined;
  json: boolean;
} {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { split: { type: "string" }, limit: { type: "string" }, json: { type: "boolean" } },
  });
  const [directory] = positionals;
  if (directory === undefined || positionals.length > 1)
    throw new UserError("name one directory: the --dir of the stages", { got: positionals.join(" ") });
  const { split } = values;
  if (split !== undefined && split !== "train" && split !== "test") throw new UserError("--split must be train or test", { got: split });
  const limit = values.limit === undefined ? undefined : Number(values.limit);
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 0))
    throw new UserError("--limit must be a whole number from 0 on", { got: values.limit });
  return { directory, split, limit, json: values.json ?? false };
}

/** The result of the stage that finished last in a directory, of those that `fits` accepts; null: there is none. */
function latest(directory: string, stage: StageName, fits: (result: StageResult) => boolean = () => true): StageResult | null {
  const below = join(directory, stage);
  const files = existsSync(below)
    ? readdirSync(below)
        .map((key) => join(below, key, "stage.json"))
        .filter((file) => existsSync(file))
    : [];
  const newestFirst = files.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  return newestFirst.map((file) => JSON.parse(readFileSync(file, "utf8")) as StageResult).find(fits) ?? null;
}

/** The directory of the model that the tokens were made for; null: it is not known here. */
function findModel(directory: string, model: string): string | null {
  const result = latest(directory, "download", ({ outputs }) => outputs.some(({ name, sha256 }) => name === "model" && sha256 === model));
  return result === null ? null : fileURLToPath(outputNamed(result.outputs, "model").uri);
}

/** Says what the rows came to, on standard error. Throws UserError if a row begins with BOS twice. */
function summarize(result: StageResult, rows: readonly TokenRow[], model: string | null, tokenizer: ModelTokenizer | null): void {
  if (result.stage !== "preprocess") return;
  const place = dirname(fileURLToPath(outputNamed(result.outputs, "tokens").uri));
  const setting = promptIn(join(place, WANTED));
  const shape = model === null || !existsSync(join(model, "config.json")) ? null : readModelConfig(model).shape;
  const bosToken = tokenizer?.bosToken ?? null;
  const bosId = (bosToken === null ? undefined : tokenizer?.idOf(bosToken)) ?? shape?.bosTokenId ?? -1;
  const eosIds = shape === null || model === null ? [] : readEosTokenIds(model, { shape });
  const prompt = setting === null || tokenizer === null ? null : openPrompt(setting, promptTokens(tokenizer, eosIds), compileTemplate);
  const lines = summaryLines({
    rows,
    files: readJson<readonly FileRows[]>(join(place, SOURCES)),
    metrics: result.metrics,
    prompt: setting === null || typeof setting === "string" ? setting : setting.template,
    stop: prompt?.stop ?? null,
    tokenizer,
    special: shape === null ? {} : { BOS: [bosId], EOS: eosIds },
    reasons: readLines(join(place, REJECTS)).map((text) => (JSON.parse(text) as { readonly reason: string }).reason),
  });
  for (const text of lines) console.error(text);
  // where BOS is EOS as well, it may be padding
  const doubled = eosIds.includes(bosId) ? undefined : rows.find(({ inputIds: [first, second] }) => first === bosId && second === bosId);
  if (doubled !== undefined) throw new UserError(doubledBos(bosId), { row: doubled.source });
}

/** The prompt that a stage's directory says its rows were written with; null: it does not say. */
function promptIn(path: string): PromptSetting | null {
  return readJson<{ readonly settings?: { readonly prompt?: PromptSetting } }>(path)?.settings?.prompt ?? null;
}

function readJson<Value>(path: string): Value | null {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Value) : null;
}

function readLines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : [];
}

function line({ source, inputIds, labels }: TokenRow): string {
  return JSON.stringify({ row: source, input_ids: [...inputIds], labels: [...labels] });
}

/** A row's text, or its ids without a tokenizer; in a terminal runs of tokens without loss are dimmed. */
function text(
  { source, inputIds, labels, split }: TokenRow & { readonly split: string },
  tokenizer: Tokenizer | null,
  colours: boolean,
): string {
  const masked = labels.filter((label) => label === IGNORED).length;
  const next = tokenizer?.stream() ?? ((id?: number) => (id === undefined ? "" : `${id} `));
  const [dim, plain] = colours ? ["\u001b[2m", "\u001b[22m"] : ["", ""];
  let body = "";
  for (const [at, id] of inputIds.entries()) {
    const isMasked = labels[at] === IGNORED;
    if (isMasked !== (at > 0 && labels[at - 1] === IGNORED)) body += isMasked ? dim : plain;
    body += next(id);
  }
  return `== row ${source} (${split}): ${count(inputIds.length, "token")}, ${count(masked)} without loss\n${body}${next()}${plain}\n`;
}

/** Writes a line at the reader's pace; false: the reader went away. */
function print(output: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${output}\n`, (error) => {
      if (error == null) resolve(true);
      else if ((error as NodeJS.ErrnoException).code === "EPIPE") resolve(false);
      else reject(error);
    });
  });
}
