import { UserError } from "../errors.js";
import { aroundOf } from "./around.js";
import { SYMBOL_OF_BYTE } from "./byte-symbols.js";
import type { SentencePieceJson } from "./sentencepiece-json.js";
import type { Fields } from "./special-tokens.js";
import { llamaBlanks, type ByteLevelClass, type RebuiltClass } from "./tokenizer-class.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** The tokenizer.json that stands for what a class of transformers makes of a model's own one. */

/** The files' names in messages. */
export const CONFIG = "tokenizer_config.json";
export const FILE = "tokenizer.json";

/** A tokenizer.json of either kind. */
export type AnyTokenizerJson = TokenizerJson | SentencePieceJson;

/** What a class made, and whether it left out what the file says, so that ids may be others. */
interface Rebuilt {
  readonly json: unknown;
  readonly isChanged: boolean;
}

/** What a class makes of a tokenizer.json. Throws UserError that names the field where ids would be others than the file's, and the class's own are not carried out. */
export function rebuiltJson(parsed: AnyTokenizerJson, rebuilt: RebuiltClass, config: Fields): Rebuilt {
  if (rebuilt.kind === "sentencepiece") return llamaJson(parsed, rebuilt, config);
  if (!isByteLevel(parsed))
    throw new UserError("transformers builds byte-level BPE of this model's tokenizer, and tokenizer.json is of another kind", {
      file: FILE,
      class: rebuilt.name,
      advice: rebuilt.advice,
    });
  return byteLevelJson(parsed, rebuilt, config);
}

function isByteLevel(parsed: AnyTokenizerJson): parsed is TokenizerJson {
  const type = parsed.pre_tokenizer?.type;
  return type === "ByteLevel" || type === "Sequence";
}

function llamaJson(parsed: AnyTokenizerJson, rebuilt: RebuiltClass, config: Fields): Rebuilt {
  const { model } = parsed;
  if (model.type === "Unigram")
    throw new UserError("LlamaTokenizer of transformers builds BPE, and tokenizer.json is of another kind", {
      file: FILE,
      field: "model.type",
      advice: rebuilt.advice,
    });
  const prefix = config["add_prefix_space"] === null ? true : (flagOf(config, "add_prefix_space") ?? true);
  const legacy = config["legacy"] === null ? false : (flagOf(config, "legacy") ?? false);
  return {
    json: {
      ...parsed,
      ...llamaBlanks(!prefix ? "never" : legacy ? "always" : "first"),
      added_tokens: [],
      model: { type: "BPE", vocab: model.vocab, merges: model.merges, fuse_unk: true, byte_fallback: true },
    },
    isChanged: true,
  };
}

function byteLevelJson(parsed: TokenizerJson, rebuilt: ByteLevelClass, config: Fields): Rebuilt {
  const asked = prefixSpaceOf(config, rebuilt);
  const { normalizer, pre_tokenizer, post_processor, model } = parsed;
  const differs = (field: string, file: unknown, built: unknown): void => {
    if (JSON.stringify(file) !== JSON.stringify(built))
      throw new UserError("transformers builds this model's tokenizer otherwise than tokenizer.json says, so their ids differ", {
        file: FILE,
        field,
        got: JSON.stringify(file),
        [rebuilt.name]: JSON.stringify(built),
        advice: rebuilt.advice,
      });
  };
  const prefixSpace = stepsOf(pre_tokenizer).at(-1)?.add_prefix_space;
  // tokenizer_config.json has the last word; without it the class says no
  if (asked === undefined) differs("pre_tokenizer.add_prefix_space", prefixSpace === true, false);
  differs("normalizer", typesOf(normalizer), typesOf(rebuilt.normalizer));
  const steps = stepsOf(pre_tokenizer, false);
  // where no token joins digits, numbers have the same ids without that step, and only white space before them may have others
  const withoutDigits = steps.filter(({ type }) => type !== "Digits");
  const isDropped = withoutDigits.length < steps.length && !joinsDigits(model.vocab);
  differs("pre_tokenizer", isDropped ? withoutDigits : steps, stepsOf(rebuilt.preTokenizer(false), false));
  differs("model.ignore_merges", model.ignore_merges ?? false, false);
  if (SYMBOL_OF_BYTE.some((symbol) => !(symbol in model.vocab))) differs("model.unk_token", model.unk_token ?? null, null);
  const json = {
    ...parsed,
    added_tokens: [],
    pre_tokenizer: rebuilt.preTokenizer(asked ?? false),
    post_processor: rebuilt.addsNothing ? null : post_processor,
    model: { ...model, unk_token: null },
  };
  const { before, after } = aroundOf(post_processor, FILE);
  return { json, isChanged: isDropped || (rebuilt.addsNothing && before.length + after.length > 0) };
}

function joinsDigits(vocabulary: Readonly<Record<string, number>>): boolean {
  return Object.keys(vocabulary).some((token) => token.length > 1 && /[0-9]/.test(token));
}

/** A flag of tokenizer_config.json; undefined: it is not there. */
export function flagOf(config: Fields, field: string): boolean | undefined {
  const value = config[field];
  if (value !== undefined && typeof value !== "boolean")
    throw new UserError("a field must be true or false", { file: CONFIG, field, got: JSON.stringify(value) });
  return value;
}

/** What tokenizer_config.json says of a blank before texts; undefined: nothing. */
export function prefixSpaceOf(config: Fields, { name }: ByteLevelClass): boolean | undefined {
  return name === "Qwen2Tokenizer" && config["add_prefix_space"] === null ? undefined : flagOf(config, "add_prefix_space");
}

function typesOf(normalizer: TokenizerJson["normalizer"]): readonly string[] {
  if (normalizer == null) return [];
  return normalizer.type === "Sequence" ? normalizer.normalizers.map(({ type }) => type) : [normalizer.type];
}

/** The steps of a pre-tokenizer, with what changes no ids left out; `prefixSpace` stands in for what each says of it. */
function stepsOf(
  preTokenizer: TokenizerJson["pre_tokenizer"],
  prefixSpace?: boolean,
): { readonly type: string; readonly add_prefix_space?: boolean }[] {
  const steps = preTokenizer.type === "Sequence" ? preTokenizer.pretokenizers : [preTokenizer];
  return steps.map((step) =>
    step.type === "ByteLevel"
      ? { type: step.type, add_prefix_space: prefixSpace ?? step.add_prefix_space, use_regex: step.use_regex ?? true }
      : { ...step },
  );
}
