import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { bytesOf } from "../../../core/graph/graph.js";
import { elements, floats, int64s, type Graph, type Tensor } from "../../../core/graph/tensor.js";
import { allParameters, type WeightSpec } from "../../../core/model/family.js";
import type { Sessions } from "../../../engines/onnx/sessions.js";
import { openSessions } from "../../../engines/onnx/step/workplace.js";
import { createSession } from "../../../engines/onnx/session/session.js";
import { gradientsOf, solo } from "../../engines/onnx/step/solo.js";
import { trainingLogits } from "./logits.js";
import { assertClose, assertSameTensors, reference, worstShare, type Reference } from "./reference.js";

/** What every family must agree with PyTorch on, by the figures of test/reference. */

/** Tests of the graphs that train: logits, loss, every gradient and 20 AdamW steps. */
export function testTraining(family: string, name: string): void {
  describe(`${family} against PyTorch: ${name}`, () => {
    const { model, rows, weights, expected, tensors, parameters, train } = reference(name);
    let sessions: Sessions;
    before(async () => {
      sessions = await openSessions(model.family.training(model.shape, model.parameters), createSession);
    });
    after(() => Promise.all(Object.values(sessions).map((session) => session.close())));

    it("gives the logits of every token in a padded batch", async () => {
      const padded = tensors("expected-logits.safetensors").get("logits")!;
      const length = expected.input_ids[0]!.length;
      const real = rows.flatMap((row, r) => [...row.inputIds.keys()].map((at) => r * length + at));
      const V = model.shape.vocabulary;
      const logits = Float32Array.from(real.flatMap((at) => [...padded.subarray(at * V, (at + 1) * V)]));
      assert.ok(worstShare(await trainingLogits(sessions, model, weights, rows), logits) < 1e-5);
    });

    it("gives the loss of the padded batch and every gradient", async () => {
      const { loss, gradients } = await gradientsOf(model, sessions, weights, rows);
      assertClose([loss], [expected.loss], 1e-6);
      assertSameTensors(gradients, parameters("expected-gradients.safetensors"), 1e-5);
    });

    it("gives the losses, norms and weights of 20 AdamW steps", async () => {
      const { step, whole, totalSteps } = solo(model, sessions, weights, rows, train);
      const outcomes = [];
      while (outcomes.length < totalSteps) outcomes.push(await step());
      assertClose(
        outcomes.map(({ loss }) => loss),
        expected.training_losses,
        1e-5,
      );
      assertClose(
        outcomes.map(({ norm }) => norm),
        expected.gradient_norms_before_clipping,
        1e-5,
      );
      assertSameTensors(whole("weight"), parameters("expected-after-20-steps.safetensors"), 6e-5);
    });
  });
}

/** The inputs of an empty cache of `batch` rows. */
function emptyCache({ inputs }: Graph, batch: number): Record<string, Tensor> {
  const caches = inputs.filter(({ name }) => name.startsWith("past_key_values."));
  // a size with a name is the number of rows, or that of tokens, of which there are none
  const sizes = caches.map(({ shape }) => shape.map((size, axis) => (typeof size === "number" ? size : axis === 0 ? batch : 0)));
  return Object.fromEntries(caches.map(({ name }, at) => [name, floats(new Float32Array(0), ...sizes[at]!)]));
}

/** Tests of the decoder's logits for rows that are padded to the right and to the left. */
export async function testDecoder(known: Reference): Promise<void> {
  const { model, weights, expected } = known;
  const V = model.shape.vocabulary;
  const graph = model.family.decoder(model.shape, model.parameters, () => null);
  const weightInputs = Object.fromEntries(
    allParameters(model.parameters).map(({ name, shape }) => [name, floats(weights.get(name)!, ...shape)]),
  );
  const session = await createSession(graph, { threads: 1 });
  const all = known.tensors("expected-logits.safetensors").get("logits")!;
  const B = expected.input_ids.length;
  const S = expected.input_ids[0]!.length;
  for (const side of ["right", "left"] as const) {
    const moved = (row: readonly number[], r: number): readonly number[] => {
      const length = expected.attention_mask[r]!.filter((bit) => bit === 1).length;
      return side === "right" ? row : [...row.slice(length), ...row.slice(0, length)];
    };
    const mask = expected.attention_mask.map(moved);
    const positions = mask.map((row) => row.map((_, at) => Math.max(0, row.slice(0, at + 1).filter((bit) => bit === 1).length - 1)));
    const { logits } = await session.run(
      {
        ...weightInputs,
        ...emptyCache(graph, B),
        input_ids: int64s(expected.input_ids.map(moved).flat(), B, S),
        attention_mask: int64s(mask.flat(), B, S),
        position_ids: int64s(positions.flat(), B, S),
        num_logits_to_keep: int64s([0]),
      },
      { logits: null },
    );
    const at = (row: number, column: number): number => (row * S + column) * V;
    expected.attention_mask.forEach((bits, row) => {
      const length = bits.filter((bit) => bit === 1).length;
      const shift = side === "right" ? 0 : S - length;
      const got = (logits!.data as Float32Array).subarray(at(row, shift), at(row, shift + length));
      assert.ok(worstShare(got, all.subarray(at(row, 0), at(row, length))) < 1e-5, `${side} row ${row}`);
    });
  }
  await session.close();
}

/** Tests of the decoder's greedy continuation, token by token through its cache, with the weights inside. */
export async function testGreedy({ model, weights, expected }: Reference): Promise<void> {
  const bytes = ({ name, shape }: WeightSpec): Uint8Array => {
    assert.equal(weights.get(name)!.length, elements(shape));
    return bytesOf(floats(weights.get(name)!, ...shape));
  };
  const graph = model.family.decoder(model.shape, model.parameters, bytes);
  const session = await createSession(graph, { threads: 1 });
  let past = emptyCache(graph, 1);
  const wanted = Object.fromEntries(graph.outputs.map(({ name }) => [name, null]));
  let next: readonly number[] = expected.prompt;
  let length = 0;
  const continuation: number[] = [];
  while (continuation.length < expected.greedy_continuation.length) {
    const positions = next.map((_, index) => length + index);
    length += next.length;
    const outputs = await session.run(
      {
        ...past,
        input_ids: int64s(next, 1, next.length),
        attention_mask: int64s(Array<number>(length).fill(1), 1, length),
        position_ids: int64s(positions, 1, next.length),
        num_logits_to_keep: int64s([1]),
      },
      wanted,
    );
    const logits = outputs["logits"]!.data as Float32Array;
    assert.equal(logits.length, model.shape.vocabulary);
    next = [logits.indexOf(Math.max(...logits))];
    continuation.push(next[0]!);
    past = Object.fromEntries(Object.keys(past).map((name) => [name, outputs[name.replace("past_key_values", "present")]!]));
  }
  assert.deepEqual(continuation, expected.greedy_continuation);
  await session.close();
}
