import { UserError } from "../../errors.js";
import { rotaryFrequencies, rotaryTables } from "../common/rotary.js";
import { parseEosTokenIds } from "../eos.js";
import type { ModelSize } from "../family.js";
import type { ModelShape } from "../shape.js";

/** GPT-NeoX's shape, as its config.json says it. */
export interface GptNeoxShape extends ModelShape {
  /** W, D / heads */
  readonly headWidth: number;
  /** F, the MLP's inner width */
  readonly innerWidth: number;
  /** the first entries of each head that are rotated */
  readonly rotaryDim: number;
  readonly rotaryBase: number;
  /** what every angle is divided by */
  readonly rotaryFactor: number;
  readonly normEpsilon: number;
  /** whether the MLP takes what attention takes; else it takes what attention gives */
  readonly parallel: boolean;
  /** the operator */
  readonly activation: "gelu" | "erfGelu";
  /** whether attention's layers have a bias */
  readonly attentionBias: boolean;
  /** whether the head's matrix is the table of word vectors */
  readonly tied: boolean;
}

const MAX_LAYERS = 10_000;

/** By transformers' names; two of them compute the same. */
const ACTIVATIONS: Readonly<Record<string, GptNeoxShape["activation"]>> = { gelu: "erfGelu", gelu_new: "gelu", gelu_fast: "gelu" };

/** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
export function parseGptNeoxConfig(json: unknown, where: string): GptNeoxShape {
  if (typeof json !== "object" || json === null) throw new UserError("a model's config must be a JSON object", { file: where });
  const fields = json as Readonly<Record<string, unknown>>;
  const fail = (field: string, expected: string, got = fields[field]): never => {
    throw new UserError(`this model is not one that Roslin can train: ${field}`, { file: where, expected, got: JSON.stringify(got) });
  };
  const integer = (field: string, fallback?: number): number => {
    const value = fields[field] ?? fallback;
    return Number.isInteger(value) && (value as number) > 0 ? (value as number) : fail(field, "a positive whole number");
  };
  const flag = (field: string, fallback: boolean): boolean => {
    const value = fields[field] ?? fallback;
    return typeof value === "boolean" ? value : fail(field, "true or false");
  };
  if (fields["model_type"] !== "gpt_neox") fail("model_type", "gpt_neox");
  const activation = ACTIVATIONS[(fields["hidden_act"] ?? "gelu") as string];
  if (activation === undefined) fail("hidden_act", Object.keys(ACTIVATIONS).join(" or "));
  const dropout = Object.fromEntries(
    ["hidden_dropout", "attention_dropout"].flatMap((field) => {
      const share = fields[field] ?? 0;
      if (typeof share !== "number" || share < 0 || share > 1) return fail(field, "a share from 0 to 1, of dropout, which is not applied");
      return share === 0 ? [] : [[field, share]];
    }),
  );
  const width = integer("hidden_size");
  const heads = integer("num_attention_heads");
  if (width % heads !== 0) fail("num_attention_heads", `a divisor of hidden_size ${width}`);
  const layers = integer("num_hidden_layers");
  // names of billions of weights would fill the memory before the first of them is missed
  if (layers > MAX_LAYERS) fail("num_hidden_layers", `at most ${MAX_LAYERS}`);
  const vocabulary = integer("vocab_size");
  const normEpsilon = fields["layer_norm_eps"] ?? 1e-5;
  const { bos_token_id: bosTokenId = 0, eos_token_id: eos } = fields;
  return {
    type: "gpt_neox",
    layers,
    heads,
    width,
    headWidth: width / heads,
    innerWidth: integer("intermediate_size"),
    vocabulary,
    positions: integer("max_position_embeddings", 2048),
    ...rotation(fields, width / heads, fail),
    normEpsilon: typeof normEpsilon === "number" && normEpsilon >= 0 ? normEpsilon : fail("layer_norm_eps", "a number, not below 0"),
    parallel: flag("use_parallel_residual", true),
    activation: activation!,
    attentionBias: flag("attention_bias", true),
    tied: flag("tie_word_embeddings", false),
    // transformers' own, which a small vocabulary may lack, stands where the file says nothing
    eosTokenIds: eos === undefined ? [2] : parseEosTokenIds(eos, vocabulary, (expected) => fail("eos_token_id", expected)),
    bosTokenId: typeof bosTokenId === "number" ? bosTokenId : bosTokenId === null ? 0 : fail("bos_token_id", "a token id"),
    ...(Object.keys(dropout).length > 0 && { dropout }),
  };
}

type Rotation = Pick<GptNeoxShape, "rotaryDim" | "rotaryBase" | "rotaryFactor">;

/** What is said of rotation: by transformers 5 in `rope_parameters`, by older files beside it, which counts where the former is silent. */
function rotation(
  fields: Readonly<Record<string, unknown>>,
  headWidth: number,
  fail: (field: string, expected: string, got?: unknown) => never,
): Rotation {
  // an old file's scaling takes the place of rope_parameters, as in transformers
  const said = fields["rope_scaling"] ?? fields["rope_parameters"] ?? {};
  const place = fields["rope_scaling"] == null ? "rope_parameters" : "rope_scaling";
  if (typeof said !== "object" || Array.isArray(said)) return fail(place, "an object");
  const rope = said as Readonly<Record<string, unknown>>;
  const { rope_type: kind = rope["type"] ?? "default", factor = 1 } = rope;
  if (kind !== "default" && kind !== "linear") fail(`${place}.rope_type`, "default or linear", kind);
  const number = (name: string, old: string, fallback: number): number => {
    const value = name in rope ? rope[name] : (fields[old] ?? fallback);
    return typeof value === "number" && value > 0 ? value : fail(name in rope ? `${place}.${name}` : old, "a number above 0", value);
  };
  const share = number("partial_rotary_factor", "rotary_pct", 0.25);
  const rotaryDim = Math.floor(headWidth * share);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0 || rotaryDim > headWidth)
    fail("rotary_pct", `a share that rotates an even number of the head width ${headWidth}`, share);
  const rotaryFactor =
    kind === "default" ? 1 : typeof factor === "number" && factor >= 1 ? factor : fail(`${place}.factor`, "a number, not below 1", factor);
  return { rotaryDim, rotaryBase: number("rope_theta", "rotary_emb_base", 10_000), rotaryFactor };
}

/** Cosines and sines of the angles by which heads are rotated. */
export function tables({ positions, rotaryDim, rotaryBase, rotaryFactor }: GptNeoxShape): ReturnType<typeof rotaryTables> {
  const frequencies = rotaryFrequencies(rotaryDim, rotaryBase);
  return rotaryTables(
    positions,
    frequencies.map((angle) => Math.fround(angle / rotaryFactor)),
  );
}

/** config.json of a GPT-NeoX of this size. */
export function gptNeoxConfigJson(size: ModelSize): Record<string, unknown> {
  return {
    architectures: ["GPTNeoXForCausalLM"],
    model_type: "gpt_neox",
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    hidden_size: size.width,
    intermediate_size: 4 * size.width,
    max_position_embeddings: size.positions,
    rope_parameters: { rope_type: "default", rope_theta: 10_000, partial_rotary_factor: (size.rotary * size.heads) / size.width },
    vocab_size: size.vocabulary,
    hidden_act: "gelu",
    layer_norm_eps: 1e-5,
    use_parallel_residual: true,
    attention_bias: true,
    attention_dropout: 0,
    hidden_dropout: 0,
    initializer_range: 0.05,
    bos_token_id: size.bosTokenId,
    eos_token_id: size.eosTokenId,
    tie_word_embeddings: false,
    use_cache: true,
    dtype: "float32",
  };
}
