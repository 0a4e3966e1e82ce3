import assert from "node:assert/strict";
import { test } from "node:test";
import { print } from "../../../../core/graph/print.js";
import { modelOf } from "../../../../core/model/families.js";
import type { TrainingProgram } from "../../../../core/model/family.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import { sha256 } from "../../../../infra/disk/files.js";
import { gradientsOf } from "../../../engines/onnx/step/solo.js";
import { assertClose, assertSameTensors, reference } from "../reference.js";

function training(fields: object): TrainingProgram {
  const tiny = {
    model_type: "gpt_neox",
    num_hidden_layers: 1,
    num_attention_heads: 2,
    hidden_size: 16,
    intermediate_size: 12,
    vocab_size: 50,
  };
  const { family, shape, parameters } = modelOf({ ...tiny, ...fields }, "test");
  return family.training(shape, parameters);
}

/** Inputs of a segment's graph that are neither weights nor tables, in order. */
function values({ block }: TrainingProgram, direction: "forward" | "backward", at: number): string[] {
  const known = /weight|bias|^(cos|sin)$/;
  return block[direction][at]!.program.inputs.map(({ name }) => name!).filter((name) => !known.test(name));
}

test("side by side the MLP takes the block's input, one after the other what attention gave", () => {
  const [together, apart] = [training({}), training({ use_parallel_residual: false })];
  assert.deepEqual(values(together, "backward", 2), ["x", "d.inner", "dy", "gathered", "activated"]);
  assert.deepEqual(values(apart, "backward", 2), ["middle", "d.inner", "dy", "gathered", "activated"]);
  for (const each of [together, apart]) {
    assert.deepEqual(values(each, "forward", 2), ["x", "gathered"]);
    assert.deepEqual(values(each, "backward", 4), ["x", "d.q", "d.k", "d.v", "d.middle"]);
  }
});

test("the graphs are those of which the figures were checked: a change is a change of every trained bit, so raise the stage's version", () => {
  const digests = [{}, { use_parallel_residual: false, hidden_act: "gelu_new", attention_bias: false }].map((fields) => {
    const { block, norm, head } = training(fields);
    const programs = [...block.forward, ...block.backward].map(({ program }) => program);
    const ends = [norm.forward, norm.backward, head.forward, head.backward, head.weightBackward!];
    return sha256(Buffer.from([...programs, ...ends].map(print).join(""))).slice(0, 16);
  });
  assert.deepEqual(digests, ["2a1aeb06cde095d8", "55998cebb6eece62"]);
});

test("without biases attention is as with biases of zero", async () => {
  const { model, weights, rows } = reference("gpt-neox-serial");
  const bare = modelOf({ ...model.configJson, attention_bias: false }, "test");
  const isBias = (name: string): boolean => /attention\..*\.bias$/.test(name);
  const zeroed = new Map([...weights].map(([name, values]) => [name, isBias(name) ? new Float32Array(values.length) : values]));
  const kept = new Map([...zeroed].filter(([name]) => !isBias(name)));
  const computed = async (of: typeof model, from: typeof weights): ReturnType<typeof gradientsOf> => {
    const sessions = await openSessions(of.family.training(of.shape, of.parameters), createSession);
    const found = await gradientsOf(of, sessions, from, rows);
    await Promise.all(Object.values(sessions).map((session) => session.close()));
    return found;
  };
  const [got, expected] = [await computed(bare, kept), await computed(model, zeroed)];
  assert.equal(got.gradients.size, weights.size - 2 * model.shape.layers);
  assertClose([got.loss], [expected.loss], 1e-6);
  assertSameTensors(got.gradients, new Map([...expected.gradients].filter(([name]) => !isBias(name))), 1e-5);
});
