import assert from "node:assert/strict";
import { test } from "node:test";
import { allParameters } from "../../../core/model/family.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { planStep } from "../../../core/training/step-plan.js";
import { stepOrder, wireParameters } from "../../../engines/deepspeed/orders.js";
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
      const orders = Array.from({ length: workers }, (_, worker) => stepOrder(plan, { worker, workers, train }, step, 0.5));
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
  const { passes, labels } = stepOrder(planStep(silent, train, 0), { worker: 0, workers: 2, train }, 0, 1);
  assert.deepEqual([passes, labels], [[], 0]);
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
