import assert from "node:assert/strict";
import { test } from "node:test";
import { allParameters, trainedParameters } from "../../../core/model/family.js";
import { planAdapter, withAdapter } from "../../../core/model/lora/adapter.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { planEvaluation, planStep } from "../../../core/training/step-plan.js";
import { beginOrder, evaluateOrders, stepOrder, wireParameters } from "../../../engines/deepspeed/orders.js";
import { planBlock } from "../../../engines/onnx/block-plan.js";
import { readModelConfig } from "../../../infra/weights/read-model-config.js";
import { join } from "node:path";
import { REFERENCE } from "../../core/model/reference.js";
import { madeRows } from "../../workers/tiny.js";

const ROWS = madeRows(21);
const split = { count: ROWS.length, row: (source: number) => ({ source, ...ROWS[source]! }) };
const { train } = parseRunConfig({ train: { shards: 4, microBatch: 1, accumulation: 2, epochs: 1 } });

test("every rank makes as many passes, with one of its shards in each, and all rows are computed once", () => {
  for (const workers of [1, 2, 3, 4])
    for (const step of [0, 1, 2]) {
      const plan = planStep(split, train, step);
      const orders = Array.from({ length: workers }, (_, worker) => stepOrder(plan, { worker, workers, train }, step, 0.5, false));
      assert.equal(new Set(orders.map(({ passes }) => passes.length)).size, 1);
      assert.ok(orders.every(({ labels, rate }) => labels === plan.positions && rate === 0.5));
      for (const turn of orders[0]!.passes.keys())
        assert.ok(
          orders.some(({ passes }) => passes[turn] !== null),
          "no pass is empty on all ranks",
        );
      const computed = orders.flatMap(({ passes }) => passes.flatMap((pass) => pass?.rows ?? []));
      const planned = plan.microBatches.flatMap(({ shards }) => shards.flatMap(({ rows }) => rows));
      const words = (rows: readonly { readonly labels: Iterable<number> }[]): string[] =>
        rows.map(({ labels }) => [...labels].join()).sort();
      assert.deepEqual(words(computed), words(planned));
    }
});

test("a step without labels has no passes", () => {
  const silent = { ...split, row: (source: number) => ({ ...split.row(source), labels: ROWS[source]!.labels.map(() => -100) }) };
  const { passes, labels } = stepOrder(planStep(silent, train, 0), { worker: 0, workers: 2, train }, 0, 1, false);
  assert.deepEqual([passes, labels], [[], 0]);
});

test("the test rows are ordered by micro-batch, each once over all ranks", () => {
  const plan = planEvaluation(split, train);
  assert.equal(plan.microBatches.length, 5, "the last row has no label");
  const ranks = [0, 1, 2].map((worker) => [...evaluateOrders(plan, { worker, workers: 3, train })]);
  for (const [index, batch] of plan.microBatches.entries()) {
    const orders = ranks.map((each) => each[index]!);
    assert.ok(orders.every(({ labels, last }) => labels === plan.positions && last === (index === 4)));
    assert.equal(new Set(orders.map(({ passes }) => passes.length)).size, 1);
    const computed = orders.flatMap(({ passes }) => passes.flatMap((pass) => (pass?.rows ?? []).map(({ source }) => source)));
    const planned = batch.shards.flatMap(({ rows }) => rows.map(({ source }) => source));
    assert.deepEqual(computed.sort(), planned.sort());
  }
});

test("adapters are ordered with the place of their module in the block's graphs", () => {
  const base = readModelConfig(join(REFERENCE, "gptj-tiny"));
  const { train: settings } = parseRunConfig({
    train: { engine: "deepspeed", shards: 4, method: "lora", lora: { rank: 2, targets: ["v_proj", "q_proj", "fc_out"], dropout: 0.25 } },
  });
  const model = withAdapter(base, planAdapter(base, settings.lora!), { typeOf: () => "float32", dropout: true });
  const setup = { keepActivations: false, timeoutSeconds: 45, prefix: "p" };
  const place = { worker: 0, workers: 1, address: "127.0.0.1", directory: "/d", model: join(REFERENCE, "gptj-tiny"), tokens: "" };
  const rank = { ...place, train: settings, setup, resume: null, resumeStep: 0, totalSteps: 1, whereabouts: 0 };
  const order = beginOrder(rank, model, "/d/p.adapter0.safetensors");
  const names = [...planBlock(model.family.training(model.shape, model.parameters), model.parameters.blocks[0]!).drops.keys()];
  assert.deepEqual(order.dropout, { share: 0.25, seed: 42 });
  assert.equal(order.adapters.length, 3 * model.shape.layers);
  for (const { module, layer, index } of order.adapters)
    assert.equal(module, `transformer.h.${layer}.${names[index]!.slice("drop.".length)}`);
  assert.deepEqual(order.initial, ["/d/p.adapter0.safetensors"]);
  assert.deepEqual(
    order.parameters.filter(({ frozen }) => !frozen).map(({ name }) => name),
    trainedParameters(model.parameters).map(({ name }) => name),
  );
  assert.deepEqual(beginOrder(rank, base, null).initial, order.files);
});

test("a model whose files hold a parameter under another name is refused, by name", () => {
  const model = readModelConfig(join(REFERENCE, "gptj-tiny"));
  assert.deepEqual(
    wireParameters(model).map(({ name }) => name),
    allParameters(model.parameters).map(({ name }) => name),
  );
  const family = { ...model.family, source: () => ({ tensor: "query_key_value", shape: [1] }) };
  assert.throws(
    () => wireParameters({ ...model, family }),
    (error: Error) => error instanceof UserError && /deepspeed does not train GPT-J models.*tensor=query_key_value/.test(error.message),
  );
});
