import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { END_KEY, promptOf } from "../../core/text/prompt.js";
import type { Decoder } from "../../core/text/tokenizer.js";
import { UserError } from "../../core/errors.js";
import { openInference } from "../../engines/onnx/inference/open-inference.js";
import { MODEL_COMPANIONS } from "../../activities/download/select.js";
import { refuseLfsPointer } from "../../infra/disk/lfs-pointer.js";
import { fetchPublished, openPublished } from "../../infra/sources/published.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import { readTokenizer } from "../../infra/text/read-tokenizer.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import { wholeNumber, type Command } from "../shell/command.js";
import type { Environment } from "../../workers/environment.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { withS3 } from "../machine/with-s3.js";

/** `roslin generate`: a model's answer to an instruction. */
export const generate: Command = {
  name: "generate",
  summary: "ask a model, with the prompt that it was tuned on",
  usage:
    "generate MODEL --prompt INSTRUCTION [--input CONTEXT] [--max-tokens N]\nMODEL: a directory, or the s3:// or file:// address of a published model",
  async run(args, environment) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { prompt: { type: "string" }, input: { type: "string" }, "max-tokens": { type: "string" } },
    });
    const [model] = positionals;
    if (model === undefined || positionals.length > 1)
      throw new UserError("name one model: a directory, or the address of a published model");
    if (values.prompt === undefined) throw new UserError("set --prompt to the question");
    const most = values["max-tokens"] === undefined ? 128 : wholeNumber("--max-tokens", values["max-tokens"]);
    const text = promptOf({ instruction: values.prompt, input: values.input });
    await untilInterrupted(async (signal) => answer(await locate(model, environment, signal), text, most, signal));
    return 0;
  },
};

/** The directory with the model's files; a published model's files are downloaded first. */
async function locate(named: string, environment: Environment, signal: AbortSignal): Promise<string> {
  const isAddress = /^(s3|file):\/\//.test(named);
  // a directory that runs publish to contains models, and names the latest
  if (!isAddress && !existsSync(join(named, "latest.json"))) return resolve(named);
  const model = isAddress ? named : pathToFileURL(resolve(named)).href;
  return await withS3(environment, model, signal, async ({ variables }) => {
    const published = await openPublished(model, s3SettingsOf(variables), signal);
    const directory = join(environment.home, "published", published.manifest.name);
    await fetchPublished(
      published,
      directory,
      (name) => /^(config\.json|tokenizer\.json|[^/]*\.safetensors(\.index\.json)?)$/.test(name),
      signal,
    );
    return directory;
  });
}

/** Writes the answer to standard output as it comes, up to the end key. */
async function answer(directory: string, prompt: string, most: number, signal: AbortSignal): Promise<void> {
  const { positions } = readModelConfig(directory).shape;
  for (const name of MODEL_COMPANIONS) refuseLfsPointer(join(directory, name));
  const tokenizer = readTokenizer(directory);
  const ids = tokenizer.encode(prompt);
  if (ids.length >= positions) throw new UserError("the prompt is longer than the model's positions", { tokens: ids.length, positions });
  const model = await openInference(directory, signal);
  try {
    for await (const text of sayable(limit(model.generate(ids), most), tokenizer)) process.stdout.write(text);
  } finally {
    process.stdout.write("\n");
    await model.close();
  }
}

async function* limit(tokens: AsyncIterable<number>, most: number): AsyncGenerator<number> {
  let count = 0;
  for await (const token of tokens) {
    yield token;
    if (++count >= most) return;
  }
}

/** The text of tokens before the end key: text that may turn out to be part of the key, or of the blank before it, is held back. */
export async function* sayable(tokens: AsyncIterable<number>, tokenizer: Decoder): AsyncGenerator<string> {
  const next = tokenizer.stream();
  let held = "";
  for await (const token of tokens) {
    held += next(token);
    const end = held.indexOf(END_KEY);
    if (end >= 0) return yield held.slice(0, end).trimEnd();
    const [, ready, rest] = /^([^]*?)(\s*#*(?: E?n?d?)?)$/.exec(held)!;
    if (ready !== "") yield ready!;
    held = rest!;
  }
  yield (held + next()).trimEnd();
}
