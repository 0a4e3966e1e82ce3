import { z } from "zod";
import { loraOf, type RunConfig } from "../../config/schema.js";
import { UserError } from "../../errors.js";
import type { AdapterModule, Model } from "../family.js";
import { linearModules, planAdapter, resolveAdapter } from "./adapter.js";
import { isEnd } from "./targets.js";

/** adapter_config.json, by which PEFT knows an adapter. */

/** The two files of an adapter, as PEFT names them. */
export const ADAPTER_CONFIG = "adapter_config.json";
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";

/** The base that an adapter's config names. */
export interface NamedBase {
  /** a repository of the hub, a path or a URL; null: the config names none */
  readonly name: string | null;
  /** of the repository; null: its main branch */
  readonly revision: string | null;
}

/** What an adapter's config says. */
export interface AdapterConfig {
  readonly base: NamedBase;
  /** Its adapters in a model. Throws UserError where they are not those of this model, or not such as Roslin trains. */
  modulesIn(model: Pick<Model, "parameters">): AdapterModule[];
}

const rule = z.union([z.string().min(1), z.array(z.string())]);
const pattern = z.record(z.string(), z.number().positive()).nullish();

/** What Roslin reads. */
const schema = z.looseObject({
  peft_type: z.literal("LORA"),
  task_type: z.literal("CAUSAL_LM").nullish(),
  base_model_name_or_path: z.string().min(1).nullish(),
  revision: z.string().min(1).nullish(),
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  target_modules: rule,
  exclude_modules: rule.nullish(),
  rank_pattern: z.record(z.string(), z.int().min(1)).nullish(),
  alpha_pattern: pattern,
  use_rslora: z.boolean().nullish(),
  bias: z.literal("none").nullish(),
  // others change the base before training begins
  init_lora_weights: z.union([z.boolean(), z.enum(["gaussian", "eva", "orthogonal"])]).nullish(),
  layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
});

/** What says nothing of an adapter's product, or only together with a field that Roslin refuses. */
const IDLE = new Set([
  "auto_mapping",
  "inference_mode",
  "peft_version",
  "lora_dropout",
  "megatron_core",
  "qalora_group_size",
  "eva_config",
  "ensure_weight_tying",
  "runtime_config",
]);

/**
 * Reads an adapter's config. Throws UserError that names the field that Roslin does not do: another method than LoRA, DoRA,
 * biases, modules that are saved whole, and every other field that it does not know and that says something.
 */
export function parseAdapterConfig(text: string, where: string): AdapterConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UserError("an adapter's config is not JSON", { file: where }, { cause: error });
  }
  const { data, error } = schema.safeParse(json);
  if (data === undefined) {
    const { path, message } = error.issues[0]!;
    const got = path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], json);
    throw new UserError(`this adapter is not one that Roslin reads: ${path.join(".") || "its config"}`, {
      file: where,
      expected: message.replace(/^Invalid \w+: expected /, ""),
      got: JSON.stringify(got),
    });
  }
  for (const [field, value] of Object.entries(data))
    if (!(field in schema.shape) && !IDLE.has(field) && !isNothing(value))
      throw new UserError(`this adapter is not one that Roslin reads: ${field}`, {
        file: where,
        expected: "nothing",
        got: JSON.stringify(value),
      });
  const base = { name: data.base_model_name_or_path ?? null, revision: data.revision ?? null };
  const said = (field: string): string => `${field} of ${where}`;
  const names = {
    targets: said("target_modules"),
    exclude: said("exclude_modules"),
    rank: said("r"),
    rankPattern: said("rank_pattern"),
    alphaPattern: said("alpha_pattern"),
  };
  return {
    base,
    modulesIn(model) {
      const layers = data.layers_to_transform;
      const chosen = layers == null ? [] : [layers].flat();
      const left = model.parameters.blocks.findIndex((_, layer) => !chosen.includes(layer));
      if (chosen.length > 0 && left !== -1)
        throw new UserError("this adapter is not one that Roslin reads, because it leaves out layers: layers_to_transform", {
          file: where,
          expected: `all of ${model.parameters.blocks.length} layers, or null`,
          got: JSON.stringify(layers),
        });
      const settings = {
        rank: data.r,
        alpha: data.lora_alpha,
        targets: data.target_modules,
        exclude: data.exclude_modules ?? null,
        rankPattern: data.rank_pattern ?? {},
        alphaPattern: data.alpha_pattern ?? {},
        rsLora: data.use_rslora ?? false,
      };
      return resolveAdapter(model, settings, names);
    },
  };
}

function isNothing(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0;
  return value === null || value === false;
}

/**
 * Checks that a run goes on with an adapter: that its settings give the model the same modules, ranks and scales. Throws
 * UserError that names what differs, and the way out.
 */
export function checkGoesOn(
  model: Pick<Model, "parameters">,
  adapter: AdapterConfig,
  train: Pick<RunConfig["train"], "method" | "lora">,
): void {
  const lora = loraOf(train);
  if (lora === null)
    throw new UserError(
      'the model is an adapter, and train.method "full" trains whole models: publish the adapter with publish.merge first, or set train.method to "lora"',
    );
  const there = new Map(adapter.modulesIn(model).map((each) => [each.module, each]));
  const wanted = new Map(planAdapter(model, lora).map((each) => [each.module, each]));
  const words = (each: AdapterModule | undefined): string => (each === undefined ? "no adapter" : `rank ${each.rank}, scale ${each.scale}`);
  for (const module of linearModules(model.parameters)) {
    const [got, expected] = [words(wanted.get(module)), words(there.get(module))];
    if (got !== expected)
      throw new UserError(
        "train.lora is not as the adapter was made that training goes on with: set it so, or begin with the adapter's base",
        {
          layer: module,
          expected,
          got,
        },
      );
  }
}

/** The text of a config by which PEFT gives a model these adapters; `dropout`: the share that training dropped of their inputs. */
export function adapterConfigText(
  model: Pick<Model, "parameters">,
  adapters: readonly AdapterModule[],
  { dropout, base }: { readonly dropout: number; readonly base: NamedBase },
): string {
  const [rank, alpha] = [mostCommon(adapters.map((each) => each.rank)), mostCommon(adapters.map((each) => each.alpha))];
  const ends = shortNames(linearModules(model.parameters), adapters);
  const differing = (value: (adapter: AdapterModule) => number, usual: number): Record<string, number> =>
    Object.fromEntries(
      [...ends].flatMap(([end, adapter]) => (value(adapter) === usual ? [] : [[end.replaceAll(".", "\\."), value(adapter)]])),
    );
  const isStabilized = adapters.some(({ rank, alpha, scale }) => scale !== alpha / rank);
  const config = {
    alpha_pattern: differing((adapter) => adapter.alpha, alpha),
    auto_mapping: null,
    base_model_name_or_path: base.name,
    bias: "none",
    exclude_modules: null,
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_bias: false,
    lora_dropout: dropout,
    modules_to_save: null,
    peft_type: "LORA",
    r: rank,
    rank_pattern: differing((adapter) => adapter.rank, rank),
    revision: base.revision,
    target_modules: [...ends.keys()].sort(),
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_rslora: isStabilized,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** The number that is there most often; the first of equally frequent ones. */
function mostCommon(numbers: readonly number[]): number {
  const countOf = (number: number): number => numbers.filter((each) => each === number).length;
  return numbers.reduce((best, number) => (countOf(number) > countOf(best) ? number : best));
}

/**
 * The shortest ends of names that take these adapters' modules and no other, each with its adapter: where all modules with an
 * end have the same adapter, no other key or pattern says otherwise of them.
 */
function shortNames(modules: readonly string[], adapters: readonly AdapterModule[]): Map<string, AdapterModule> {
  const byModule = new Map(adapters.map((adapter) => [adapter.module, adapter]));
  const isSame = (module: string, { rank, alpha }: AdapterModule): boolean => {
    const other = byModule.get(module);
    return other?.rank === rank && other.alpha === alpha;
  };
  const names = new Map<string, AdapterModule>();
  for (const adapter of adapters) {
    const parts = adapter.module.split(".");
    const ends = parts.map((_, index) => parts.slice(parts.length - 1 - index).join("."));
    const end = ends.find((name) => modules.every((module) => !isEnd(name, module) || isSame(module, adapter)))!;
    names.set(end, adapter);
  }
  return names;
}
