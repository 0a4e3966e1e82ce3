import { fileURLToPath } from "node:url";
import type { RunConfig } from "../../core/config/schema.js";
import type { ModelTokenizer } from "../../core/text/model-tokenizer.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import type { Prompt, PromptSetting } from "../../core/text/prompt-kind.js";
import { compileTemplate } from "../../infra/text/jinja.js";
import { promptTokens } from "../../infra/text/prompt-tokens.js";
import { readTokenizer, tokenizerOfFiles } from "../../infra/text/read-tokenizer.js";
import { fetchText } from "./fetch-text.js";
import { ggufOf, lookAtGguf } from "./gguf.js";
import { MODEL_COMPANIONS } from "./select.js";
import type { SourcePlan } from "./source-plan.js";

/** What can be wrong with a run's prompt, looked at before hours of downloading. */

/** Throws UserError if the run's own template is not one. */
export function checkTemplate({ preprocess: { prompt } }: Pick<RunConfig, "preprocess">): void {
  // the model's tokens are not known yet
  const tokens = { bosToken: "", eosToken: "", endToken: "", chatTemplate: null, added: [] };
  if (typeof prompt !== "string") openPrompt(prompt, tokens, compileTemplate);
}

/**
 * Throws UserError if the settings say that the rows are words, and the model has no tokenizer that Roslin reads, or not the
 * chat template that is asked for. Rows that may turn out to be tokens need neither. `fetched`: bytes that came over the wire.
 */
export async function checkTokenizer(
  { dataset, preprocess: { prompt } }: Pick<RunConfig, "dataset" | "preprocess">,
  source: SourcePlan,
  signal: AbortSignal,
): Promise<{ readonly fetched: number }> {
  const { format, columns } = dataset;
  const isText = prompt === "chat" || format !== null || Object.values(columns).some((column) => column !== null);
  if (format === "tokens" || !isText) return { fetched: 0 };
  const { tokenizer, fetched } = await modelTokenizer(source, signal);
  if (prompt === "chat") promptFor(prompt, tokenizer);
  return { fetched };
}

/** The prompt that a run is set to, with a tokenizer's special tokens, but for the names of those that end an answer. Throws UserError. */
export function promptFor(setting: PromptSetting, tokenizer: ModelTokenizer): Prompt {
  return openPrompt(setting, promptTokens(tokenizer, []), compileTemplate);
}

/** The tokenizer of a model whose weights may not be here yet. Throws UserError if it has none that Roslin reads. */
export async function modelTokenizer(
  source: SourcePlan,
  signal: AbortSignal,
): Promise<{ readonly tokenizer: ModelTokenizer; readonly fetched: number }> {
  if (source.kind === "file") throw new Error("a model's source is a directory or a repository");
  const gguf = ggufOf(source);
  if (gguf !== null) {
    const { directory, fetched } = await lookAtGguf(source, signal);
    return { tokenizer: tokenizerOfFiles(gguf, [...directory.texts.keys()], (name) => directory.texts.get(name) ?? null), fetched };
  }
  if (source.kind !== "remote") {
    const directory = source.kind === "kept" ? fileURLToPath(source.artifact.uri) : source.directory;
    return { tokenizer: readTokenizer(directory), fetched: 0 };
  }
  const { remote, files } = source;
  const names = files.map(({ path }) => path);
  const texts = new Map<string, string>();
  let bytes = 0;
  // vocabularies of other kinds count by their names alone
  for (const name of ["config.json", ...MODEL_COMPANIONS.filter((each) => !each.endsWith(".model"))])
    if (names.includes(name)) {
      const { text, fetched } = await fetchText(remote, files, name, signal);
      texts.set(name, text);
      bytes += fetched;
    }
  return { tokenizer: tokenizerOfFiles(remote.title, names, (name) => texts.get(name) ?? null), fetched: bytes };
}
