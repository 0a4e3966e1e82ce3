import assert from "node:assert/strict";
import { Control } from "../../../../engines/onnx/control.js";
import type { Sessions } from "../../../../engines/onnx/sessions.js";
import { Workplace } from "../../../../engines/onnx/step/workplace.js";
import type { OwnedSlice } from "../../../../engines/onnx/step/owner.js";
import { trainStep, type StepOutcome } from "../../../../engines/onnx/step/step.js";
import { loraOf, parseRunConfig } from "../../../../core/config/schema.js";
import { trainingPlan } from "../../../../core/training/order.js";
import type { TokenRow, TokenSplit } from "../../../../core/rows/token-rows.js";
import { elements } from "../../../../core/graph/tensor.js";
import { trainedParameters, type Model } from "../../../../core/model/family.js";
import { learningRateAt } from "../../../../core/training/learning-rate.js";
import { sharedLayout } from "../../../../engines/onnx/layout.js";
import { capacityOf, planStep } from "../../../../core/training/step-plan.js";

export type Weights = Map<string, Float32Array>;

/** Training's own step with one worker that hosts every shard, in this process: quick, and open to a look at every gradient. */
export interface Solo {
  readonly totalSteps: number;
  /** Computes the next step and updates the weights. */
  step(): Promise<StepOutcome>;
  /** Whole tensors, put together from what the shards own; gradients are those of the last step, before clipping. */
  whole(of: "weight" | "gradient" | "expAvg" | "expAvgSq"): Weights;
  /** [length, D] by source row: the last micro-batch's gradient at the embedding's output. */
  rowGradients(): Map<number, Float32Array>;
}

/** Starts training `rows` from `weights`; `settings` are the train section's. */
export function solo(
  model: Model,
  sessions: Sessions,
  weights: Weights,
  rows: readonly TokenRow[],
  settings: object,
  keepActivations = true,
): Solo {
  const { train } = parseRunConfig({ train: settings });
  const split: TokenSplit = { count: rows.length, row: (index) => rows[index]! };
  const capacity = capacityOf(split, train);
  const layout = sharedLayout(model, train.shards, capacity);
  const control = new Control();
  const place = new Workplace({
    training: model.family.training(model.shape, model.parameters),
    model,
    layout,
    capacity,
    shards: train.shards,
    hosted: Array.from({ length: train.shards }, (_, shard) => shard),
    sessions,
    control,
    keepActivations,
    dropout: { share: loraOf(train)?.dropout ?? 0, seed: train.seed },
    mapped: new Map(),
    fresh: (count) => new Float32Array(count),
    segments: layout.segments.map((bytes) => new ArrayBuffer(bytes)),
    // nobody else is to be waited for
    arrive: (index) => control.release(index, "go"),
  });
  for (const [name, values] of weights) place.view(layout.weights.get(name)!).set(values);
  const { totalSteps } = trainingPlan(rows.length, train);
  let step = 0;
  let updates = 0;
  return {
    totalSteps,
    async step() {
      const outcome = await trainStep(place, planStep(split, train, step), train, learningRateAt(train, step, totalSteps), step, updates);
      step++;
      if (outcome.updated) updates++;
      return outcome;
    },
    rowGradients() {
      const gradients = place.view(layout.embeddingGradients);
      let token = 0;
      const rows = planStep(split, train, step - 1)
        .microBatches.at(-1)!
        .shards.flatMap((shard) => shard.rows);
      return new Map(
        rows.map(({ source, inputIds }) => {
          const first = token * model.shape.width;
          token += inputIds.length;
          return [source, gradients.slice(first, token * model.shape.width)];
        }),
      );
    },
    whole: (of) =>
      new Map(trainedParameters(model.parameters).map(({ name, shape }) => [name, wholeTensor(place, name, elements(shape), of)])),
  };
}

/** The loss of all rows in one step, its norm and every gradient. */
export async function gradientsOf(
  model: Model,
  sessions: Sessions,
  weights: Weights,
  rows: readonly TokenRow[],
  settings: { readonly shards: number; readonly microBatch: number; readonly accumulation: number } = ONE_BATCH,
): Promise<{ readonly loss: number; readonly norm: number; readonly gradients: Weights }> {
  const { step, whole } = solo(model, sessions, weights, rows, { ...settings, learningRate: 0 });
  const { loss, norm } = await step();
  assert.ok(loss !== null && norm !== null, "rows with labels");
  return { loss, norm, gradients: whole("gradient") };
}

const ONE_BATCH = { shards: 1, microBatch: 1000, accumulation: 1 };

function wholeTensor({ owners }: Workplace, name: string, count: number, of: keyof OwnedSlice): Float32Array {
  const whole = new Float32Array(count);
  for (const slice of owners.map((owner) => owner.slice(name))) whole.set(slice[of] as Float32Array, slice.first);
  return whole;
}
