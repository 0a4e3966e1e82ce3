import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { loraOf } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import { allParameters, isTrained, type Model, type TensorSource } from "../../core/model/family.js";
import { adapterTensors } from "../../core/model/lora/adapter.js";
import { dropInputs } from "../../core/model/lora/dropout.js";
import { hostedShards } from "../../core/training/slices.js";
import type { MicroBatchPlan, StepPlan } from "../../core/training/step-plan.js";
import { weightFiles } from "../../infra/weights/model-files.js";
import type { RankInput } from "../engine.js";
import { rankSwap, swapOf } from "./swap.js";
import type { BeginOrder, EvaluateOrder, StepOrder, WireAdapter, WirePass } from "./wire.js";

/** What a rank orders from its Python process. */

/** What the ranks of an attempt must agree on. */
export interface DeepSpeedSetup {
  /** whether there is memory to keep what blocks compute on the way forward; a process on a GPU never keeps it */
  readonly keepActivations: boolean;
  /** how long a collective on CPUs waits for a rank that does not answer, before all others fail */
  readonly timeoutSeconds: number;
  /** what the names of the attempt's files begin with */
  readonly prefix: string;
}

/** The model's parameters as transformers names them, or PEFT. Throws UserError for a model whose files hold them otherwise. */
export function wireParameters({ family, shape, parameters }: Model): BeginOrder["parameters"] {
  return allParameters(parameters).map((parameter) => {
    const { name, adapter } = parameter;
    const source: TensorSource = adapter === undefined ? family.source(shape, parameter) : { tensor: name, shape: parameter.shape };
    if (source.tensor !== name || source.transposed === true || source.row !== undefined)
      throw new UserError(`the engine deepspeed does not train ${family.name} models yet: take the engine onnx`, {
        parameter: name,
        tensor: source.tensor,
      });
    return { name, shape: parameter.shape, frozen: !isTrained(parameter) };
  });
}

/** A model's adapters. */
function wireAdapters({ family, shape, parameters, adapters = [] }: Model): WireAdapter[] {
  if (adapters.length === 0) return [];
  const drops = [...dropInputs(family.training(shape, parameters).block.forward).keys()];
  const byModule = new Map(adapters.map((adapter) => [adapterTensors(adapter.module).A, adapter]));
  return parameters.blocks.flatMap((specs, layer) =>
    specs.flatMap(({ name, input }) => {
      const adapter = byModule.get(name);
      return adapter === undefined ? [] : [{ ...adapter, layer, index: drops.indexOf(input.replace(/^(.*)\.lora_A\.weight$/, "drop.$1")) }];
    }),
  );
}

/** The network interface of this machine that has an address. Throws UserError where none has. */
function interfaceOf(address: string): string {
  const found = Object.entries(networkInterfaces()).find(([, entries]) => entries?.some((entry) => entry.address === address));
  if (found === undefined)
    throw new UserError("no network interface of this machine has the address at which others are to reach it: set ROSLIN_ADDRESS", {
      got: address,
    });
  return found[0];
}

/** The order with which a process begins. `adapter`: the file with the values with which adapters begin; null: there are none, or a checkpoint has them. */
export function beginOrder(rank: RankInput<DeepSpeedSetup>, model: Model, adapter: string | null): BeginOrder {
  const { worker, workers, train, resume, resumeStep, totalSteps, setup } = rank;
  const { shards, precision, betas, epsilon, weightDecay, maxGradNorm, offload } = train;
  const files = weightFiles(rank.model).map((name) => join(rank.model, name));
  return {
    kind: "begin",
    rank: worker,
    ranks: workers,
    shards,
    model: rank.model,
    files,
    parameters: wireParameters(model),
    initial: adapter === null ? files : [adapter],
    adapters: wireAdapters(model),
    dropout: { share: loraOf(train)?.dropout ?? 0, seed: train.seed },
    width: model.shape.width,
    resume,
    resumeStep,
    totalSteps,
    address: rank.address,
    interface: interfaceOf(rank.address),
    timeoutSeconds: setup.timeoutSeconds,
    precision,
    offload: {
      optimizer: offload.optimizer,
      parameters: offload.parameters,
      directory: rankSwap(swapOf(train, rank.directory, setup.prefix), worker),
    },
    keepActivations: setup.keepActivations,
    betas,
    epsilon,
    weightDecay,
    maxGradNorm,
  };
}

/**
 * A step of one rank. In a pass each rank computes the rows of one of its shards, so that memory depends on `microBatch`
 * alone. All ranks make as many passes, because they go through the layers together.
 */
export function stepOrder(plan: StepPlan, rank: Ranked, step: number, rate: number, evaluates: boolean): StepOrder {
  return { kind: "step", step, rate, labels: plan.positions, passes: passesOf(plan.microBatches, rank), evaluates };
}

/** The orders by which one rank computes the test rows, a micro-batch each. */
export function* evaluateOrders(plan: StepPlan, rank: Ranked): Generator<EvaluateOrder> {
  for (const batch of plan.microBatches)
    yield { kind: "evaluate", labels: plan.positions, passes: passesOf([batch], rank), last: batch === plan.microBatches.at(-1) };
}

/** A rank among others. */
type Ranked = Pick<RankInput, "worker" | "workers" | "train">;

function passesOf(microBatches: readonly MicroBatchPlan[], { worker, workers, train }: Ranked): WirePass[] {
  const hosted = Array.from({ length: workers }, (_, rank) => hostedShards(train.shards, workers, rank));
  const most = Math.max(...hosted.map((shards) => shards.length));
  return microBatches.flatMap(({ shards }) =>
    Array.from({ length: most }, (_, turn) => hosted.map((own) => shards.find(({ shard }) => shard === own[turn])))
      .filter((ranks) => ranks.some((part) => part !== undefined))
      .map((ranks): WirePass => {
        const part = ranks[worker];
        if (part === undefined) return null;
        const rows = part.rows.map(({ source, inputIds, labels }) => ({ source, ids: [...inputIds], labels: [...labels] }));
        return { shard: part.shard, rows };
      }),
  );
}
