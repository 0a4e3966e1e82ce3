import type { LoraSettings } from "../../config/lora.js";
import { loraOf, type RunConfig } from "../../config/schema.js";
import { UserError } from "../../errors.js";
import type { FloatType } from "../../graph/tensor.js";
import type { AdapterModule, Model, ParameterSet, ParameterSpec } from "../family.js";
import { isAllLinear, isEnd, patternValue, takesModule, type ModuleRule } from "./targets.js";

/** Low-rank adapters: y + scale · x @ Aᵀ @ Bᵀ beside a linear layer that stays as it is. */

/** What the names of an adapter's tensors begin with in PEFT's files. */
const PREFIX = "base_model.model.";

/** The two tensors of a module's adapter, by PEFT's names: A [rank, in] and B [out, rank]. */
export function adapterTensors(module: string): { readonly A: string; readonly B: string } {
  return { A: `${PREFIX}${module}.lora_A.weight`, B: `${PREFIX}${module}.lora_B.weight` };
}

const WEIGHT = ".weight";
const moduleOf = (name: string): string => name.slice(0, -WEIGHT.length);
const isLinear = ({ name, shape }: ParameterSpec): boolean => shape.length === 2 && name.endsWith(WEIGHT);

/** What settings of adapters are called where they stand, for errors. */
export type SettingNames = Readonly<Record<"targets" | "exclude" | "rank" | "rankPattern" | "alphaPattern", string>>;

/** In a run's settings. */
const OWN_NAMES: SettingNames = {
  targets: "train.lora.targets",
  exclude: "train.lora.exclude",
  rank: "train.lora.rank",
  rankPattern: "train.lora.rankPattern",
  alphaPattern: "train.lora.alphaPattern",
};

/**
 * The adapters that a run's settings give a model, in the order of its layers. Throws UserError that names a target without a
 * layer, one outside the blocks, a rank above a layer's width, and adapters that differ between layers.
 */
export function planAdapter({ parameters }: Pick<Model, "parameters">, lora: LoraSettings): AdapterModule[] {
  const modules = linearModules(parameters);
  if (typeof lora.targets !== "string")
    for (const name of lora.targets) if (!modules.some((module) => isEnd(name, module))) throw noLayer(modules, name, OWN_NAMES);
  return resolveAdapter({ parameters }, lora, OWN_NAMES);
}

/** As `planAdapter`, for settings that stand elsewhere, but one of several targets may match no layer, as PEFT lets it. */
export function resolveAdapter(
  { parameters }: Pick<Model, "parameters">,
  lora: Omit<LoraSettings, "dropout">,
  names: SettingNames,
): AdapterModule[] {
  const linear = parameters.blocks.flatMap((specs) => specs.filter(isLinear));
  refuseOutside(parameters, lora.targets, names);
  const isWanted = (module: string): boolean => isAllLinear(lora.targets) || takesModule(lora.targets, module, names.targets);
  const excluded = (module: string): boolean => lora.exclude !== null && takesModule(lora.exclude, module, names.exclude);
  const taken = linear.filter(({ name }) => isWanted(moduleOf(name)) && !excluded(moduleOf(name)));
  if (taken.length === 0) throw noLayer(linearModules(parameters), JSON.stringify(lora.targets), names);
  const adapters = taken.map(({ name, shape }): AdapterModule => {
    const module = moduleOf(name);
    const rank = patternValue(lora.rankPattern, module, names.rankPattern) ?? lora.rank;
    const alpha = patternValue(lora.alphaPattern, module, names.alphaPattern) ?? lora.alpha;
    const most = Math.min(shape[0]!, shape[1]!);
    if (rank > most)
      throw new UserError(`an adapter's rank is above its layer's width: lower ${names.rank}`, {
        layer: module,
        expected: `at most ${most}`,
        got: rank,
      });
    return { module, rank, alpha, scale: alpha / (lora.rsLora ? Math.sqrt(rank) : rank) };
  });
  refuseUneven(parameters, adapters, names);
  return adapters;
}

/** The names of the linear layers of a model's blocks, in their order. */
export function linearModules({ blocks }: Pick<ParameterSet, "blocks">): string[] {
  return blocks.flatMap((specs) => specs.filter(isLinear).map(({ name }) => moduleOf(name)));
}

/** The model with its base frozen and with adapters. `typeOf`: the type in which a base's parameter can be mapped from its files; null: it has to be read. */
export function withAdapter(
  model: Model,
  adapters: readonly AdapterModule[],
  { typeOf, dropout }: { readonly typeOf: (name: string) => FloatType | null; readonly dropout: boolean },
): Model {
  const { embedding, blocks, norm, head } = model.parameters;
  const byModule = new Map(adapters.map((adapter) => [adapter.module, adapter]));
  // one graph serves every layer
  const common = (specs: readonly ParameterSpec[]): FloatType => {
    const types = new Set(specs.map(({ name }) => typeOf(name) ?? "float32"));
    return types.size === 1 ? [...types][0]! : "float32";
  };
  const frozen = (spec: ParameterSpec, type = common([spec])): ParameterSpec =>
    typeOf(spec.name) === type ? { ...spec, frozen: type } : { ...spec, frozen: type, copied: true };
  const frozenBlocks = blocks.map((specs) =>
    specs.flatMap((spec, index): ParameterSpec[] => {
      const base = frozen(spec, common(blocks.map((layer) => layer[index]!)));
      const adapter = isLinear(spec) ? byModule.get(moduleOf(spec.name)) : undefined;
      if (adapter === undefined) return [base];
      const { A, B } = adapterTensors(adapter.module);
      const [out, width] = spec.shape as [number, number];
      const part = { scale: adapter.scale, dropout };
      const input = moduleOf(spec.input);
      return [
        base,
        { name: A, input: `${input}.lora_A.weight`, shape: [adapter.rank, width], initial: "noise", adapter: part },
        { name: B, input: `${input}.lora_B.weight`, shape: [out, adapter.rank], initial: "zero", adapter: part },
      ];
    }),
  );
  const parameters = {
    embedding: frozen(embedding),
    blocks: frozenBlocks,
    norm: norm.map((spec) => frozen(spec)),
    head: head.map((spec) => frozen(spec)),
  };
  return { ...model, parameters, adapters };
}

function noLayer(modules: readonly string[], got: string, { targets }: SettingNames): UserError {
  const ends = [...new Set(modules.map((module) => module.split(".").at(-1)!))];
  return new UserError(`a target in ${targets} matches no linear layer of the model's blocks`, { expected: `of ${ends.join(", ")}`, got });
}

/** An adapter of the head or of the embedding would be saved with the whole matrix. */
function refuseOutside({ embedding, head }: ParameterSet, targets: ModuleRule, names: SettingNames): void {
  if (isAllLinear(targets)) return;
  const layers = [embedding, head[0]!].flatMap(({ name, layerNames = [] }) => [moduleOf(name), ...layerNames]);
  const layer = layers.find((each) => takesModule(targets, each, names.targets));
  if (layer !== undefined)
    throw new UserError(`${names.targets} takes a layer outside the blocks, which Roslin gives no adapter: leave it out`, {
      layer,
      targets: JSON.stringify(targets),
    });
}

/** Throws UserError where a layer has an adapter that the same layer of another block lacks, or has otherwise. */
function refuseUneven({ blocks }: ParameterSet, adapters: readonly AdapterModule[], { targets }: SettingNames): void {
  const byModule = new Map(adapters.map((adapter) => [adapter.module, adapter]));
  const [first, ...others] = blocks;
  for (const [index, spec] of first!.entries()) {
    if (!isLinear(spec)) continue;
    const wanted = byModule.get(moduleOf(spec.name));
    for (const specs of others) {
      const module = moduleOf(specs[index]!.name);
      const { rank, alpha } = byModule.get(module) ?? {};
      if (rank !== wanted?.rank || alpha !== wanted?.alpha)
        throw new UserError(
          `the layers of the model get different adapters by ${targets} and the settings beside it, which Roslin doesn't train: take the same in each`,
          {
            layer: module,
            rank: rank ?? "none",
            other: moduleOf(spec.name),
            otherRank: wanted?.rank ?? "none",
          },
        );
    }
  }
}

const TYPES: readonly FloatType[] = ["float32", "float16", "bfloat16"];

/** A model as training will see it, as far as its config tells: the base's weights are taken to lie in the type that it names. Throws UserError as `planAdapter`. */
export function expectedModel(model: Model, train: Pick<RunConfig["train"], "method" | "lora">): Model {
  const lora = loraOf(train);
  if (lora === null) return model;
  const { dtype, torch_dtype: older } = model.configJson;
  const type = TYPES.find((each) => each === (dtype ?? older)) ?? "float32";
  return withAdapter(model, planAdapter(model, lora), { typeOf: () => type, dropout: lora.dropout > 0 });
}
