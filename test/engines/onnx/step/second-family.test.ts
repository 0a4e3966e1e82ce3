import assert from "node:assert/strict";
import { after, test } from "node:test";
import { packRows } from "../../../../core/model/common/pack.js";
import type { ParameterSpec } from "../../../../core/model/family.js";
import type { TokenRow } from "../../../../core/rows/token-rows.js";
import { planBlock } from "../../../../engines/onnx/block-plan.js";
import { loadModel } from "../../../../engines/onnx/inference/model.js";
import { activationBytes } from "../../../../engines/onnx/needs.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import { ModelFiles } from "../../../../infra/weights/model-files.js";
import { evaluate, widened, type Array64 } from "../../../core/graph/evaluate.js";
import { generator, madeRow } from "../../../core/model/gptj/made.js";
import { assertClose } from "../../../core/model/reference.js";
import { madeToy, toyDirectory, toyTensors } from "../../../core/model/toy/made.js";
import { toy } from "../../../core/model/toy/toy.js";
import { gradientsOf, solo, type Weights } from "./solo.js";

/** A family that the engine has never heard of: a sequential block, norms and a head without bias, other segments. */

const { model, weights } = madeToy(3);
const { shape, parameters } = model;
const training = model.family.training(shape, model.parameters);
const next = generator(11);
/** One row is longer than the tokens that a segment takes at a time. */
const rows = [2, 5, 1, 35].map((length, source) => madeRow(source, length, Math.floor(length / 3), shape.vocabulary, next));
const sessions = await openSessions(model.family.training(model.shape, model.parameters), createSession);
after(() => Promise.all(Object.values(sessions).map((session) => session.close())));

type Wide = ReadonlyMap<string, Array64>;
const wide = (of: Weights): Wide =>
  new Map([...of].map(([name, values]) => [name, { shape: [values.length], data: Float64Array.from(values) }]));

function inputsOf(specs: readonly ParameterSpec[], of: Wide): Record<string, Array64> {
  return Object.fromEntries(specs.map(({ name, input, shape: sizes }) => [input, { shape: sizes, data: of.get(name)!.data }]));
}

/** Logits [S,V] of one row in float64, by the definitions of the forward graphs' operators. */
function logits64(of: Wide, row: TokenRow): Array64 {
  const D = shape.width;
  const packed = packRows([row], shape, training.tables);
  const table = of.get(parameters.embedding.name)!.data;
  const S = packed.tokens;
  const embedded = Array.from(packed.ids, (id) => [...table.subarray(id * D, (id + 1) * D)]).flat();
  let x: Array64 = { shape: [S, D], data: Float64Array.from(embedded) };
  const common = { slant: widened(packed.tables["slant"]!), causal: widened(packed.rows[0]!.causal) };
  for (const specs of parameters.blocks) {
    let known: Record<string, Array64> = { ...common, ...inputsOf(specs, of), x };
    for (const { program } of training.block.forward) known = { ...known, ...evaluate(program, known) };
    x = known["y"]!;
  }
  const { h } = evaluate(training.norm.forward, { x, ...inputsOf(parameters.norm, of) });
  return evaluate(training.head.forward, { h: h!, ...inputsOf(parameters.head, of) })["logits"]!;
}

function loss64(of: Wide, rows: readonly TokenRow[]): number {
  const V = shape.vocabulary;
  const losses = rows.flatMap((row) => {
    const { data } = logits64(of, row);
    return [...row.labels.keys()].slice(1).flatMap((at) => {
      if (row.labels[at] === -100) return [];
      const line = data.subarray((at - 1) * V, at * V);
      return [Math.log(line.reduce((sum, logit) => sum + Math.exp(logit), 0)) - line[row.labels[at]!]!];
    });
  });
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

test("which values are kept, and which graphs run again without them, follows from the graphs' names", () => {
  const plan = planBlock(training, parameters.blocks[0]!);
  assert.deepEqual([...plan.kept.keys()], ["q", "k", "v", "gathered", "middle", "inner"]);
  assert.deepEqual([...plan.forwardOnly.keys()], ["active"]);
  assert.deepEqual([...plan.backwardOnly.keys()], ["d.inner", "d.middle", "d.gathered", "d.q", "d.k", "d.v"]);
  assert.deepEqual(
    plan.again.map(({ graph }) => graph),
    ["toy.project", "toy.attend", "toy.middle"],
  );
  assert.equal(activationBytes(model, { tokens: 10, positions: 1, shardTokens: 1 }).kept, 4 * 10 * 2 * (5 * 8 + 12));
});

test("a gradient that no graph gives, or two, is refused, and so is one from a graph that runs in parts", () => {
  const { block } = training;
  const planned = (backward: typeof block.backward) => planBlock({ ...training, block: { ...block, backward } }, parameters.blocks[0]!);
  assert.throws(() => planned(block.backward.slice(1)), /output=d\.down, graphs=0/);
  assert.throws(() => planned([...block.backward, block.backward[0]!]), /output=d\.down, graphs=2/);
  assert.throws(() => planned(block.backward.map(({ program }) => ({ over: "chunk", program }))), /whole tensor.*d\.down/);
  const [first] = parameters.blocks[0]!;
  assert.throws(() => planBlock(training, [...parameters.blocks[0]!, { ...first!, input: "middle" }]), /one name.*name=middle/);
});

test("its loss and every gradient are those of a float64 evaluation, however the rows are split", async () => {
  const of = wide(weights);
  const expected = loss64(of, rows);
  // the long row is for the segments in parts, and takes float64 too long
  const few = rows.slice(0, 2);
  for (const settings of [
    { shards: 1, microBatch: 4, accumulation: 1 },
    { shards: 2, microBatch: 1, accumulation: 2 },
  ]) {
    const { loss } = await gradientsOf(model, sessions, weights, rows, settings);
    assertClose([loss], [expected], 1e-5);
    const { gradients } = await gradientsOf(model, sessions, weights, few, settings);
    for (const [name, slopes] of gradients) {
      const largest = slopes.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      assert.ok(largest > 0, `${name} has no gradient`);
      for (let at = 0; at < slopes.length; at += Math.ceil(slopes.length / 5)) {
        const { data } = of.get(name)!;
        const moved = (by: number): number =>
          loss64(new Map(of).set(name, { shape: [data.length], data: data.with(at, data[at]! + by) }), few);
        const numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert.ok(Math.abs(slopes[at]! - numeric) < 1e-4 * largest, `${name}[${at}]: ${slopes[at]}, expected ${numeric}`);
      }
    }
  }
});

test("values that are computed again have the bits of those that were kept, and steps lower the loss", async () => {
  const settings = { shards: 2, microBatch: 2, epochs: 8, learningRate: 1e-2 };
  const trained = async (keep: boolean): Promise<{ losses: (number | null)[]; whole: Weights }> => {
    const made = solo(model, sessions, weights, rows, settings, keep);
    const losses = [];
    for (let step = 0; step < made.totalSteps; step++) losses.push((await made.step()).loss);
    return { losses, whole: made.whole("weight") };
  };
  const [kept, again] = [await trained(true), await trained(false)];
  assert.deepEqual(again, kept);
  assert.ok(kept.losses.at(-1)! < kept.losses[0]!, kept.losses.join(" "));
});

test("from its files it scores rows, and goes on with the likeliest words through its caches", async (context) => {
  const files = new ModelFiles(toyDirectory(context, toyTensors(weights)), [toy]);
  const loaded = await loadModel(files, 1, () => false);
  context.after(() => loaded.close());
  const of = wide(weights);
  const { nll, labels } = await loaded.score(rows);
  assertClose([nll / labels], [loss64(of, rows)], 1e-5);

  const words: number[] = [];
  for await (const [said] of loaded.generate([[3, 7]])) if (words.push(said!.token) === 5) break;
  const expected: number[] = [];
  while (expected.length < words.length) {
    const inputIds = Int32Array.from([3, 7, ...expected]);
    const { data } = logits64(of, { source: 0, inputIds, labels: inputIds });
    const last = data.subarray(-shape.vocabulary);
    expected.push(last.indexOf(Math.max(...last)));
  }
  assert.deepEqual(words, expected);
  assert.ok(words.length > 0);
});
