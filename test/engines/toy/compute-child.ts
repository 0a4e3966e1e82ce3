import { openSync, readSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { elements } from "../../../core/graph/tensor.js";
import { IGNORED } from "../../../core/rows/token-rows.js";
import { learningRateAt } from "../../../core/training/learning-rate.js";
import { hostedShards, MOMENTS, sliceOf } from "../../../core/training/slices.js";
import { planStep, type StepPlan } from "../../../core/training/step-plan.js";
import { tellShard, type ComputeEvent, type Directive, type TensorCopy, type TrainSettings } from "../../../engines/engine.js";
import { openTokens } from "../../../infra/dataset/tokens.js";
import { ModelFiles, SafetensorsFile } from "../../../infra/weights/model-files.js";
import { readDeadly, strike } from "../../workers/deadly.js";
import { parametersOf, trainedCount, type ToySetup } from "./engine.js";
import { encode, type ToChild } from "./wire.js";

/** Entry of the toy engine's compute process; the rank's whereabouts are its file 3. */

const WHEREABOUTS = 3;
/** Slower than it could be, so that tests meet it at work; TOY_STEP_MS says how much. */
const STEP_MS = Number(process.env["TOY_STEP_MS"] ?? 10);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (event: ComputeEvent): void => void process.stdout.write(`${JSON.stringify(encode(event))}\n`);

/** The rank's next word; its end is this process's. */
async function next(): Promise<ToChild<ToySetup>> {
  const { value, done } = await lines.next();
  if (done === true) process.exit(0);
  return JSON.parse(value) as ToChild<ToySetup>;
}

let barriers = 0;
async function barrier(end?: Extract<ComputeEvent, { kind: "arrive" }>["end"]): Promise<Directive> {
  tellShard(WHEREABOUTS, null);
  say({ kind: "arrive", barrier: ++barriers, ...(end !== undefined && { end }) });
  const word = await next();
  if (word.kind !== "release" || word.barrier !== barriers) throw new Error(`expected barrier ${barriers}, got ${JSON.stringify(word)}`);
  return word.directive;
}

/** A shard's gradient of a step, float64 [count + 1] with its loss at the end. */
function gradientOf(weights: Float32Array, plan: StepPlan, shard: number): Float64Array {
  const count = weights.length;
  const sums = new Float64Array(count + 1);
  for (const { shards } of plan.microBatches)
    for (const { rows } of shards.filter((part) => part.shard === shard))
      for (const { inputIds, labels } of rows)
        for (let at = 1; at < labels.length; at++) {
          if (labels[at] === IGNORED) continue;
          const [x, y] = [inputIds[at - 1]!, labels[at]!];
          const [a, b] = [(x * 7) % count, (y * 11 + 3) % count];
          const off = weights[a]! - 0.5 * weights[b]! - ((x + 3 * y) % 17) / 17;
          sums[a]! += off / plan.positions;
          sums[b]! -= (0.5 * off) / plan.positions;
          sums[count]! += (0.5 * off * off) / plan.positions;
        }
  return sums;
}

/** The trained vectors with their moments, end to end. */
interface State {
  readonly weights: Float32Array;
  readonly first: Float32Array;
  readonly second: Float32Array;
}

function update({ weights, first, second }: State, gradient: Float64Array, train: TrainSettings, rate: number, updates: number): number {
  const norm = Math.sqrt(gradient.subarray(0, weights.length).reduce((sum, value) => sum + value * value, 0));
  const scale = Math.min(1, train.maxGradNorm / (norm + 1e-6));
  const [beta1, beta2] = train.betas;
  for (let i = 0; i < weights.length; i++) {
    const value = gradient[i]! * scale;
    first[i] = beta1 * first[i]! + (1 - beta1) * value;
    second[i] = beta2 * second[i]! + (1 - beta2) * value * value;
    const move = first[i]! / (1 - beta1 ** updates) / (Math.sqrt(second[i]! / (1 - beta2 ** updates)) + train.epsilon);
    weights[i] = weights[i]! * (1 - rate * train.weightDecay) - rate * move;
  }
  return norm;
}

async function work(): Promise<void> {
  const begin = await next();
  if (begin.kind !== "begin") throw new Error("the first word is the work");
  const { rank } = begin;
  const { train, resume, setup } = rank;
  const deadly = readDeadly();
  const split = (await openTokens(rank.tokens)).train;
  const files = new ModelFiles(rank.model);
  const count = trainedCount(files.model);
  const hosted = hostedShards(train.shards, rank.workers, rank.worker);
  const base = parametersOf(files.model).map(({ name, shape }) => {
    const values = new Float32Array(elements(shape));
    files.readFloats(name, 0, values);
    return { name, shape, values };
  });
  files.close();
  const state: State = { weights: new Float32Array(count), first: new Float32Array(count), second: new Float32Array(count) };
  const views = new Map<string, readonly Float32Array[]>();
  let at = 0;
  for (const { name, shape, values } of base) {
    if (shape.length !== 1) continue;
    state.weights.set(values, at);
    views.set(
      name,
      [state.weights, state.first, state.second].map((each) => each.subarray(at, at + values.length)),
    );
    at += values.length;
  }
  for (const [shard, path] of (resume?.files ?? []).entries()) {
    const file = new SafetensorsFile(path);
    for (const [name, parts] of views)
      for (const [index, part] of parts.entries()) {
        const { start, end } = sliceOf(part.length, train.shards, shard);
        if (end > start) file.readFloats(name + MOMENTS[index]!, 0, part.subarray(start, end));
      }
    file.close();
  }
  const shared = openSync(setup.sharedPath, "r+");
  const rowBytes = 8 * (count + 1);
  await barrier();

  const copies = (shard: number): TensorCopy[] =>
    base.flatMap(({ name, shape, values }) => {
      const { start, end } = sliceOf(shape[0]!, train.shards, shard);
      const rowSize = values.length / shape[0]!;
      return MOMENTS.map((suffix, index) => {
        const whole = views.get(name)?.[index] ?? (index === 0 ? values : new Float32Array(values.length));
        return { name: name + suffix, shape: [end - start, ...shape.slice(1)], data: whole.slice(start * rowSize, end * rowSize) };
      });
    });

  let updates = resume?.updates ?? 0;
  let started = performance.now();
  for (let stepIndex = rank.resumeStep; stepIndex < rank.totalSteps; stepIndex++) {
    const plan = planStep(split, train, stepIndex);
    for (const shard of hosted) {
      tellShard(WHEREABOUTS, shard);
      writeSync(shared, new Uint8Array(gradientOf(state.weights, plan, shard).buffer), 0, rowBytes, shard * rowBytes);
    }
    await sleep(STEP_MS);
    if (deadly !== null && deadly.step === stepIndex && hosted.includes(deadly.shard)) strike(deadly);
    await barrier();
    const total = new Float64Array(count + 1);
    const part = new Float64Array(count + 1);
    for (let shard = 0; shard < train.shards; shard++) {
      readSync(shared, new Uint8Array(part.buffer), 0, rowBytes, shard * rowBytes);
      for (let i = 0; i <= count; i++) total[i]! += part[i]!;
    }
    let norm: number | null = null;
    if (plan.positions > 0) norm = update(state, total, train, learningRateAt(train, stepIndex, rank.totalSteps), ++updates);
    const now = performance.now();
    const seconds = (now - started) / 1000;
    started = now;
    const { tokens, positions: labels, rows } = plan;
    const stepsDone = stepIndex + 1;
    const record = { loss: norm === null ? null : total[count]!, norm, seconds, spent: { arithmetic: seconds }, tokens, labels, rows };
    const directive = await barrier({ stepsDone, record });
    if (directive !== "go") for (const shard of hosted) say({ kind: "shard", stepsDone, updates, shard, tensors: copies(shard) });
    if (directive === "stop" || directive === "finish")
      return say({ kind: "done", stepsDone, status: directive === "stop" ? "stopped" : "finished" });
  }
}

try {
  await work();
} catch (error) {
  say({ kind: "failed", name: (error as Error).name, message: (error as Error).message });
}
// not before all that was said is on its way
process.stdout.write("", () => process.exit(0));
