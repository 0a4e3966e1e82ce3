import assert from "node:assert/strict";
import { test } from "node:test";
import { LORA_DEFAULTS } from "../../../../core/config/lora.js";
import { print } from "../../../../core/graph/print.js";
import type { Model } from "../../../../core/model/family.js";
import { planAdapter, withAdapter } from "../../../../core/model/lora/adapter.js";
import { planBlock } from "../../../../engines/onnx/block-plan.js";
import { sha256 } from "../../../../infra/disk/files.js";
import { reference } from "../reference.js";

const trainingOf = ({ family, shape, parameters }: Model) => family.training(shape, parameters);

test("the graphs are those of which the figures were checked: a change is a change of every trained bit, so raise the stage's version", () => {
  const digests = ["llama-grouped", "llama-scaled", "qwen3-small"].map((name) => {
    const { block, norm, head } = trainingOf(reference(name).model);
    const programs = [...block.forward, ...block.backward].map(({ program }) => program);
    const ends = [norm.forward, norm.backward, head.forward, head.backward, head.weightBackward!];
    return sha256(Buffer.from([...programs, ...ends].map(print).join(""))).slice(0, 16);
  });
  assert.deepEqual(digests, ["eda30eabd2873277", "5e10c6c57462f76d", "01d4fe6639d88cf4"]);
});

test("a block keeps what its way back takes, and computes norms, scores and the activation again", () => {
  const { model } = reference("llama-grouped");
  const { kept, forwardOnly } = planBlock(trainingOf(model), model.parameters.blocks[0]!);
  assert.deepEqual(Object.fromEntries(kept), { q: 24, k: 8, v: 8, gathered: 24, r: 24, gate: 37, up: 37 });
  assert.equal(forwardOnly.size, 0);
});

test("the activation is made again only where a weight's gradient takes it", () => {
  const { model } = reference("llama-grouped");
  const outputs = (targets: string[]): string[] => {
    const adapted = withAdapter(model, planAdapter(model, { ...LORA_DEFAULTS, rank: 2, targets }), { typeOf: () => null, dropout: false });
    const { backward } = trainingOf(adapted).block;
    return [...backward.find(({ over }) => over === "chunk")!.program.outputs.keys()];
  };
  assert.deepEqual(outputs(["q_proj", "up_proj"]), ["d.gate", "d.up"]);
  assert.deepEqual(outputs(["down_proj"]), ["activated", "d.gate", "d.up"]);
});
