import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { parseRunConfig } from "../../core/config/schema.js";
import { isModelFile, MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import { ADAPTER_CONFIG } from "../../core/model/lora/adapter-config.js";
import { askTokens, fitPrompt } from "../../core/text/ask-tokens.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import type { PromptSetting } from "../../core/text/prompt-kind.js";
import { LEAST_DIVISOR } from "../../core/config/evaluate.js";
import type { Sampling } from "../../core/generation/sampling.js";
import { AnswerText } from "../../core/text/stopping.js";
import { UserError } from "../../core/errors.js";
import type { GeneratedToken } from "../../engines/inference.js";
import { openInference } from "../../engines/onnx/inference/open-inference.js";
import { downloadedModel } from "../../activities/download/adapter-base.js";
import { bringWithBase } from "../../activities/download/bring-with-base.js";
import { MODEL_COMPANIONS } from "../../activities/download/select.js";
import type { Places } from "../../activities/download/source-plan.js";
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
import { InTurn } from "../show/in-turn.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { withS3 } from "../machine/with-s3.js";

/** `roslin generate`: a model's answers to instructions. */
export const generate: Command = {
  name: "generate",
  summary: "ask a model, with the prompt that it was tuned on",
  usage: `generate MODEL --prompt INSTRUCTION [--prompt INSTRUCTION …] [--input CONTEXT] [--template dolly|alpaca|chat] [--max-tokens N]
         [--temperature T] [--top-p P] [--top-k K] [--repetition-penalty R] [--seed S] [--stop TEXT …] [--cut]
MODEL: a directory of a model or of an adapter, or the s3://, file:// or hf:// address of what Roslin published, which knows its template
Without --temperature, --top-p and --top-k the likeliest tokens are taken; with one of them tokens are drawn, and the same seed draws the same.`,
  async run(args, environment) {
    const text = { type: "string" } as const;
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        prompt: { type: "string", multiple: true },
        input: text,
        template: text,
        "max-tokens": text,
        temperature: text,
        "top-p": text,
        "top-k": text,
        "repetition-penalty": text,
        seed: text,
        stop: { type: "string", multiple: true },
        cut: { type: "boolean" },
      },
    });
    const [model] = positionals;
    if (model === undefined || positionals.length > 1)
      throw new UserError("name one model: a directory, or the address of a published model");
    if (values.prompt === undefined) throw new UserError("set --prompt to the question");
    const asked = {
      turns: values.prompt.map((instruction) => ({ instruction, input: values.input ?? "" })),
      stops: values.stop ?? [],
      maxNewTokens: values["max-tokens"] === undefined ? 128 : wholeNumber("--max-tokens", values["max-tokens"]),
      tooLong: values.cut === true ? ("cut" as const) : ("error" as const),
      sampling: samplingNamed(values),
    };
    const template = values.template === undefined ? null : promptSetting(values.template);
    await untilInterrupted(async (signal) => {
      const { directory, prompt } = await locate(model, environment, signal);
      await answer(directory, template ?? prompt, asked, signal);
    });
    return 0;
  },
};

/** What is asked, and how it is answered. */
interface Asked {
  readonly turns: readonly { readonly instruction: string; readonly input: string }[];
  /** texts at which an answer ends beside the prompt's own */
  readonly stops: readonly string[];
  readonly maxNewTokens: number;
  readonly tooLong: "error" | "cut";
  readonly sampling: Sampling;
}

type SamplingOption = "temperature" | "top-p" | "top-k" | "repetition-penalty" | "seed";

/** The choice of tokens that options name. Throws UserError. */
export function samplingNamed(values: Readonly<Partial<Record<SamplingOption, string | undefined>>>): Sampling {
  const number = (option: SamplingOption, otherwise: number, fits: (value: number) => boolean, expected: string): number => {
    const value = values[option];
    if (value === undefined) return otherwise;
    if (value.trim() !== "" && fits(Number(value))) return Number(value);
    throw new UserError(`--${option} is not one that can be used`, { expected, got: value });
  };
  const isWhole = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
  const isDivisor = (value: number): boolean => value >= LEAST_DIVISOR && value < Infinity;
  const isTemperature = (value: number): boolean => value === 0 || isDivisor(value);
  const isDrawn = values["top-p"] !== undefined || values["top-k"] !== undefined;
  return {
    temperature: number("temperature", isDrawn ? 1 : 0, isTemperature, `0, or a number from ${LEAST_DIVISOR} on`),
    topP: number("top-p", 1, (value) => value > 0 && value <= 1, "a number above 0, and at most 1"),
    topK: number("top-k", 0, isWhole, "a whole number from 0 on"),
    repetitionPenalty: number("repetition-penalty", 1, isDivisor, `a number from ${LEAST_DIVISOR} on`),
    seed: number("seed", 42, isWhole, "a whole number from 0 on"),
  };
}

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
    await fetchPublished(published, directory, isModelFile, signal);
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
  const directory = join(environment.home, "published", `adapter-${sha256(source).slice(0, 12)}`);
  const onNote = (note: string): void => console.error(note);
  return await bringWithBase(placesNear(source, environment), source, directory, { signal, onBytes: () => undefined, onNote });
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

/** Writes the answers to standard output, one after the other, each as it comes, up to what ends it; of several each stands below its question. */
async function answer(directory: string, setting: PromptSetting, asked: Asked, signal: AbortSignal): Promise<void> {
  const { shape } = readModelConfig(directory);
  for (const name of MODEL_COMPANIONS) refuseLfsPointer(join(directory, name));
  const tokenizer = readTokenizer(directory);
  const special = promptTokens(tokenizer, readEosTokenIds(directory, { shape }));
  const prompt = openPrompt(setting, special, compileTemplate);
  const room = { positions: shape.positions, maxNewTokens: asked.maxNewTokens, tooLong: asked.tooLong };
  const prompts = asked.turns.map((turn) =>
    fitPrompt(askTokens(tokenizer, prompt, turn), room, "shorten it, or leave its beginning out with --cut"),
  );
  const texts = prompts.map(() => new AnswerText(tokenizer, [prompt.stop, ...asked.stops]));
  const model = await openInference(directory, signal);
  const title = (sequence: number): string => (prompts.length === 1 ? "" : `### ${asked.turns[sequence]!.instruction}\n`);
  const write = new InTurn(
    (text) => void process.stdout.write(text),
    prompts.map((_, sequence) => title(sequence)),
  );
  try {
    const options = {
      ...asked.sampling,
      maxNewTokens: asked.maxNewTokens,
      isLast: ({ sequence }: GeneratedToken) => texts[sequence]!.isStopped,
    };
    for await (const { sequence, token } of model.generate(prompts, options)) write.add(sequence, texts[sequence]!.add(token));
    for (const [sequence, text] of texts.entries()) write.add(sequence, text.end());
  } finally {
    write.end();
    await model.close();
  }
}
