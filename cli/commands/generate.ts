import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { parseRunConfig } from "../../core/config/schema.js";
import { MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import { ADAPTER_CONFIG } from "../../core/model/lora/adapter-config.js";
import { idsBefore } from "../../core/text/request.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import type { PromptSetting } from "../../core/text/prompt-kind.js";
import type { Turn } from "../../core/text/conversation.js";
import type { Decoder } from "../../core/text/tokenizer.js";
import { UserError } from "../../core/errors.js";
import { openInference } from "../../engines/onnx/inference/open-inference.js";
import { downloadedModel } from "../../activities/download/adapter-base.js";
import { withBase } from "../../activities/download/adapter-source.js";
import { getSource } from "../../activities/download/fetch-plan.js";
import { MODEL_COMPANIONS } from "../../activities/download/select.js";
import { planLocal, planRemote, type Places } from "../../activities/download/source-plan.js";
import { sha256 } from "../../infra/disk/files.js";
import { refuseLfsPointer } from "../../infra/disk/lfs-pointer.js";
import { fetchPublished, openPublished } from "../../infra/sources/published.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import { compileTemplate } from "../../infra/text/jinja.js";
import { promptTokens } from "../../infra/text/prompt-tokens.js";
import { readTokenizer } from "../../infra/text/read-tokenizer.js";
import { hasAdapter } from "../../infra/weights/adapter-files.js";
import { readEosTokenIds, readModelConfig } from "../../infra/weights/read-model-config.js";
import { wholeNumber, type Command } from "../shell/command.js";
import { placesOf } from "../../workers/download-deps.js";
import type { Environment } from "../../workers/environment.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { withS3 } from "../machine/with-s3.js";

/** `roslin generate`: a model's answer to an instruction. */
export const generate: Command = {
  name: "generate",
  summary: "ask a model, with the prompt that it was tuned on",
  usage:
    "generate MODEL --prompt INSTRUCTION [--input CONTEXT] [--template dolly|alpaca|chat] [--max-tokens N]\nMODEL: a directory of a model or of an adapter, or the s3://, file:// or hf:// address of what Roslin published, which knows its template",
  async run(args, environment) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { prompt: { type: "string" }, input: { type: "string" }, template: { type: "string" }, "max-tokens": { type: "string" } },
    });
    const [model] = positionals;
    if (model === undefined || positionals.length > 1)
      throw new UserError("name one model: a directory, or the address of a published model");
    if (values.prompt === undefined) throw new UserError("set --prompt to the question");
    const most = values["max-tokens"] === undefined ? 128 : wholeNumber("--max-tokens", values["max-tokens"]);
    const turn = { instruction: values.prompt, input: values.input ?? "", output: "", scored: true };
    const template = values.template === undefined ? null : promptSetting(values.template);
    await untilInterrupted(async (signal) => {
      const { directory, prompt } = await locate(model, environment, signal);
      await answer(directory, template ?? prompt, turn, most, signal);
    });
    return 0;
  },
};

/** A prompt that is named on the command line. Throws UserError. */
function promptSetting(named: string): PromptSetting {
  if (named === "dolly" || named === "alpaca" || named === "chat") return named;
  throw new UserError("--template must be dolly, alpaca or chat", { got: named });
}

/** The prompt that a published model was tuned on: its manifest has the settings of the stage that wrote the rows. */
export function promptIn({ chain }: Pick<Manifest, "chain">): PromptSetting {
  const settings = chain.find(({ stage }) => stage === "preprocess")?.settings as { readonly prompt?: unknown } | undefined;
  return parseRunConfig(settings?.prompt === undefined ? {} : { preprocess: { prompt: settings.prompt } }).preprocess.prompt;
}

interface Located {
  readonly directory: string;
  readonly prompt: PromptSetting;
}

/** The directory with the model's files, and its prompt; a published model's files are downloaded first. */
async function locate(named: string, environment: Environment, signal: AbortSignal): Promise<Located> {
  const isAddress = /^(s3|file|hf):\/\//.test(named);
  // a directory that runs publish to contains models, and names the latest
  if (!isAddress && !existsSync(join(named, "latest.json"))) {
    const directory = resolve(named);
    if (isAdapterAlone(directory)) return await locateAdapter(pathToFileURL(directory).href, directory, environment, signal);
    const path = join(directory, MANIFEST);
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    return { directory, prompt: text.includes("roslin-manifest") ? promptIn(parseManifest(text, path)) : "dolly" };
  }
  const model = isAddress ? named : pathToFileURL(resolve(named)).href;
  return await withS3(environment, model, signal, async ({ variables }) => {
    const published = await openPublished(model, { ...s3SettingsOf(variables), hub: environment.hub }, signal);
    const directory = join(environment.home, "published", published.manifest.name);
    if (published.manifest.files.some(({ name }) => name === ADAPTER_CONFIG))
      return {
        directory: await withBaseBeside(published.uri, { ...environment, variables }, signal),
        prompt: promptIn(published.manifest),
      };
    await fetchPublished(published, directory, (name) => NEEDED.test(name), signal);
    return { directory, prompt: promptIn(published.manifest) };
  });
}

/** Whether a directory holds an adapter without its base. */
function isAdapterAlone(directory: string): boolean {
  return hasAdapter(directory) && !readdirSync(directory).some((name) => /^(model|pytorch_model)[^/]*\.(safetensors|bin)$/.test(name));
}

/** An adapter of a directory with its base; the prompt is known if Roslin published it. */
async function locateAdapter(source: string, directory: string, environment: Environment, signal: AbortSignal): Promise<Located> {
  const path = join(directory, MANIFEST);
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const prompt = text.includes("roslin-manifest") ? promptIn(parseManifest(text, path)) : "dolly";
  return { directory: await withBaseBeside(source, environment, signal), prompt };
}

/** Brings an adapter and its base into one directory, as a run's download does, and resolves to it. Throws UserError if the base cannot be found. */
async function withBaseBeside(source: string, environment: Environment, signal: AbortSignal): Promise<string> {
  const places = placesNear(source, environment);
  const onNote = (note: string): void => console.error(note);
  const plan = (await planLocal(places, "model", source)) ?? (await planRemote(places, "model", source, null, signal));
  const whole = await withBase(places, plan, null, signal, onNote);
  const directory = join(environment.home, "published", `adapter-${sha256(source).slice(0, 12)}`);
  await mkdir(directory, { recursive: true });
  const { artifact } = await getSource(directory, whole, { signal, onBytes: () => undefined, onNote });
  return fileURLToPath(artifact.uri);
}

/** The places of sources; the base of an adapter that training left may be among the downloads beside it. */
function placesNear(source: string, environment: Environment): Places {
  const places = placesOf(environment);
  if (!source.startsWith("file:")) return places;
  // <root>/train/<key>/model
  const root = join(fileURLToPath(source), "../../..");
  const near: Places["downloadedModel"] = async (digest) => (await downloadedModel(root, digest)) ?? (await places.downloadedModel(digest));
  return { ...places, downloadedModel: near };
}

/** Files of a published model that an answer needs. */
const NEEDED =
  /^(config\.json|generation_config\.json|tokenizer[^/]*\.json|special_tokens_map\.json|added_tokens\.json|chat_template\.\w+|vocab\.json|merges\.txt|[^/]*\.safetensors(\.index\.json)?)$/;

/** Writes the answer to standard output as it comes, up to what ends it. */
async function answer(directory: string, setting: PromptSetting, turn: Turn, most: number, signal: AbortSignal): Promise<void> {
  const { shape } = readModelConfig(directory);
  const { positions } = shape;
  for (const name of MODEL_COMPANIONS) refuseLfsPointer(join(directory, name));
  const tokenizer = readTokenizer(directory);
  const special = promptTokens(tokenizer, readEosTokenIds(directory, { shape }));
  const prompt = openPrompt(setting, special, compileTemplate);
  const text = tokenizer.encode(prompt.ask({ system: "", turns: [turn] }));
  const ids = prompt.around ? [...idsBefore(tokenizer.around, text), ...text] : text;
  if (ids.length >= positions) throw new UserError("the prompt is longer than the model's positions", { tokens: ids.length, positions });
  const model = await openInference(directory, signal);
  try {
    for await (const said of sayable(limit(model.generate(ids), most), tokenizer, prompt.stop)) process.stdout.write(said);
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

/** The text of tokens before `stop`: text that may turn out to be part of it, or of the blank before it, is held back. */
export async function* sayable(tokens: AsyncIterable<number>, tokenizer: Decoder, stop: string): AsyncGenerator<string> {
  const next = tokenizer.stream();
  let held = "";
  for await (const token of tokens) {
    held += next(token);
    const end = stop === "" ? -1 : held.indexOf(stop);
    if (end >= 0) return yield held.slice(0, end).trimEnd();
    const begun = Array.from({ length: stop.length }, (_, length) => stop.slice(0, length)).findLast((start) => held.endsWith(start)) ?? "";
    const ready = held.slice(0, held.length - begun.length).trimEnd();
    if (ready !== "") yield ready;
    held = held.slice(ready.length);
  }
  yield (held + next()).trimEnd();
}
