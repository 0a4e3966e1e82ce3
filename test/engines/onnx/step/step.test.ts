import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../../../engines/onnx/session/session.js";
import type { Sessions } from "../../../../engines/onnx/sessions.js";
import { parseRunConfig } from "../../../../core/config/schema.js";
import { UserError } from "../../../../core/errors.js";
import { planStep } from "../../../../core/training/step-plan.js";
import { generator, madeRow, openModel } from "../../../core/model/gptj/made.js";
import { trainingLogits } from "../../../core/model/logits.js";
import { gradientsOf, solo, type Weights } from "./solo.js";

const { model, config, weights, sessions } = await openModel({ n_layer: 2, n_head: 2, n_embd: 12, rotary_dim: 4, vocab_size: 23 }, 1);
const next = generator(3);
const rows = [7, 5, 9, 2, 7, 6].map((length, source) => madeRow(source, length, 1, 22, next));
const changed = (row: number, at: number, token: number): typeof rows =>
  rows.map((each) =>
    each.source === row ? { ...each, inputIds: each.inputIds.with(at, token), labels: each.labels.with(at, token) } : each,
  );
const bits = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

test("a token that changes in one row moves no bit of the others' logits and gradients", async () => {
  const other = changed(2, 4, (rows[2]!.inputIds[4]! + 1) % 22);
  const [before, after] = [await trainingLogits(sessions, model, weights, rows), await trainingLogits(sessions, model, weights, other)];
  let token = 0;
  for (const { source, inputIds } of rows)
    for (let at = 0; at < inputIds.length; at++, token++) {
      const logits = (all: Float32Array): Buffer => bits(all.subarray(token * config.vocabulary, (token + 1) * config.vocabulary));
      // causal as well: what comes before the change stays too
      assert.equal(logits(before).equals(logits(after)), source !== 2 || at < 4, `row ${source}, token ${at}`);
    }
  for (const shards of [1, 2, 3]) {
    const [first, second] = [rows, other].map((each) => solo(model, sessions, weights, each, { shards, microBatch: 6 / shards }));
    await first!.step();
    await second!.step();
    const moved = second!.rowGradients();
    for (const [source, gradient] of first!.rowGradients())
      assert.equal(bits(gradient).equals(bits(moved.get(source)!)), source !== 2, `row ${source} of ${shards} shards`);
  }
});

test("where rows have labels on second tokens alone, attention's scores get no gradient at all", async () => {
  const second = rows.map((row) => ({ ...row, labels: row.labels.map((label, at) => (at === 1 ? label : -100)) }));
  const { gradients } = await gradientsOf(model, sessions, weights, second);
  for (const [name, gradient] of gradients)
    assert.equal(
      gradient.every((value) => value === 0),
      /[qk]_proj/.test(name),
      name,
    );
});

const SPLIT = { shards: 3, microBatch: 2, epochs: 4, learningRate: 1e-2, maxGradNorm: 1000 };
/** Word 22 stands nowhere else, and its vector is not finite: only the one row sees it. */
const poisoned: Weights = new Map(weights).set(
  "transformer.wte.weight",
  weights.get("transformer.wte.weight")!.with(22 * config.width + 3, NaN),
);

test("a step that isn't finite is computed once more, and then fails by the step, shard and rows; nothing is updated", async () => {
  for (const row of [0, 2, 5]) {
    let runs = 0;
    const counting = { ...sessions, "norm.forward": watch("norm.forward", () => void runs++) };
    const made = solo(model, counting, poisoned, changed(row, 1, 22), SPLIT);
    const all = (): Buffer[] => (["weight", "expAvg", "expAvgSq"] as const).flatMap((of) => [...made.whole(of).values()].map(bits));
    const before = all();
    const { shards } = planStep({ count: rows.length, row: (index) => rows[index]! }, parseRunConfig({ train: SPLIT }).train, 0)
      .microBatches[0]!;
    const at = shards.find((part) => part.rows.some(({ source }) => source === row))!;
    const sources = at.rows.map(({ source }) => source).sort((a, b) => a - b);
    const named = `[step=0, loss=NaN, norm=NaN, shards=${at.shard}, rows=${sources.join(" ")}]`;
    await assert.rejects(made.step(), (error: Error) => error instanceof UserError && error.message.includes(named));
    assert.equal(runs, 6, "three shards, twice");
    assert.deepEqual(all(), before);
  }
});

test("a step that isn't finite for once goes on as if nothing had been, whichever step and shard it was", async () => {
  const trained = async (of: Sessions): Promise<Buffer[]> => {
    const made = solo(model, of, weights, rows, SPLIT);
    for (let step = 0; step < made.totalSteps; step++) await made.step();
    return (["weight", "expAvg", "expAvgSq"] as const).flatMap((kind) => [...made.whole(kind).values()].map(bits));
  };
  const undisturbed = await trained(sessions);
  for (const graph of [
    "project.forward",
    "attend.forward",
    "join.backward",
    "activate.backward",
    "project.backward",
    "head.backward",
    "head.weight.backward",
  ])
    for (const at of [0, 7, 11]) {
      let runs = 0;
      const broken = watch(graph, (output) => void (runs++ === at && output.fill(Infinity)));
      assert.deepEqual(await trained({ ...sessions, [graph]: broken }), undisturbed, `run ${at} of ${graph}`);
      assert.ok(runs > at);
    }
});

test("what a block keeps for its way back has the bits of what it would compute again", async () => {
  const trained = async (keepActivations: boolean): Promise<Buffer[]> => {
    const made = solo(model, sessions, weights, rows, SPLIT, keepActivations);
    for (let step = 0; step < made.totalSteps; step++) await made.step();
    return [...made.whole("weight").values()].map(bits);
  };
  assert.deepEqual(await trained(false), await trained(true));
});

/** A session that lets `look` see, and change, the first output of each run. */
function watch(graph: string, look: (output: Float32Array) => void): Session {
  const session = sessions[graph]!;
  return {
    ...session,
    async run(inputs, outputs) {
      const results = await session.run(inputs, outputs);
      look(Object.values(results)[0]!.data as Float32Array);
      return results;
    },
  };
}
