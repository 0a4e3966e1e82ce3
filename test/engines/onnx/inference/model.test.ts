import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { canPack, loadModel } from "../../../../engines/onnx/inference/model.js";
import { ModelFiles } from "../../../../infra/weights/model-files.js";
import { reference, REFERENCE } from "../../../core/model/reference.js";

const LORA = join(REFERENCE, "lora");
const PLENTY = 2 ** 40;

test("nothing stays mapped of a model whose reading was stopped", { skip: process.platform !== "linux" }, async () => {
  const base = join(LORA, "gpt-neox-half", "base");
  const mapped = (): boolean => readFileSync("/proc/self/maps", "utf8").includes(join(base, "model.safetensors"));
  let asked = 0;
  const stopped = (): boolean => {
    if (asked++ === 0) assert.ok(mapped());
    return asked > 1;
  };
  await assert.rejects(loadModel(new ModelFiles(base), 1, stopped, null, 0), /reading a model was stopped/);
  assert.ok(!mapped());
});

for (const name of ["gpt-neox-half", "llama-expression"])
  test(`a half-precision base that is used where it lies scores and generates as one in memory: ${name}`, async () => {
    const { base, loss_after } = JSON.parse(readFileSync(join(LORA, name, "expected.json"), "utf8")) as {
      base: string;
      loss_after: number;
    };
    const { rows } = reference(base);
    const ask = async (memory: number): Promise<readonly [number, number[]]> => {
      const files = new ModelFiles(join(LORA, name, "base"));
      const model = await loadModel(files, 1, () => false, join(LORA, name, "final"), memory);
      const { nll, labels } = await model.score(rows);
      const tokens: number[] = [];
      for await (const [said] of model.generate([[...rows[0]!.inputIds.subarray(0, 3)]])) if (tokens.push(said!.token) === 8) break;
      await model.close();
      return [nll / labels, tokens];
    };
    const mapped = await ask(0);
    assert.deepEqual(mapped, await ask(PLENTY));
    assert.ok(Math.abs(mapped[0] - loss_after) < 1e-5 * loss_after, `${mapped[0]}, not ${loss_after}`);
  });

test("weights are packed only where a sequence's caches have room beside both copies", () => {
  assert.ok(canPack(4e9, 0, 10e9));
  assert.ok(!canPack(4e9, 1, 10e9));
});
