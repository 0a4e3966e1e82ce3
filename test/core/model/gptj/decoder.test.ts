import assert from "node:assert/strict";
import { test } from "node:test";
import { gptjDecoder } from "../../../../core/model/gptj/decoder.js";
import { allParameters } from "../../../../core/model/family.js";
import { bytesOf } from "../../../../core/graph/graph.js";
import { elements, floats, int64s, type Tensor } from "../../../../core/graph/tensor.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import { reference, REFERENCES, worstShare, type Reference } from "./reference.js";

/** A decoder's inputs that don't change from call to call, and those of an empty cache. */
function inputsOf({ model, config, weights }: Reference) {
  const { heads: H, headWidth: W, layers } = config;
  const pasts = Array.from({ length: layers }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat();
  const empty = (batch: number): Record<string, Tensor> =>
    Object.fromEntries(pasts.map((name) => [`past_key_values.${name}`, floats(new Float32Array(0), batch, H, 0, W)]));
  const weightInputs = Object.fromEntries(
    allParameters(model.parameters).map(({ name, shape }) => [name, floats(weights.get(name)!, ...shape)]),
  );
  return { pasts, empty, weightInputs };
}

for (const name of REFERENCES)
  test(`the decoder gives PyTorch's logits for a padded batch, on either side: ${name}`, async () => {
    const known = reference(name);
    const { config, expected } = known;
    const V = config.vocabulary;
    const { weightInputs, empty } = inputsOf(known);
    const session = await createSession(
      gptjDecoder(config, known.model.parameters, () => null),
      { threads: 1 },
    );
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
          ...empty(B),
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
  });

test("the decoder's greedy continuation through its cache is PyTorch's, with the weights inside", async () => {
  const known = reference("gptj-tiny");
  const { config, weights, expected } = known;
  const { pasts, empty } = inputsOf(known);
  const wanted = Object.fromEntries(["logits", ...pasts.map((name) => `present.${name}`)].map((name) => [name, null]));
  const bytes = ({ name, shape }: { name: string; shape: readonly number[] }): Uint8Array => {
    assert.equal(weights.get(name)!.length, elements(shape));
    return bytesOf(floats(weights.get(name)!, ...shape));
  };
  const session = await createSession(gptjDecoder(config, known.model.parameters, bytes), { threads: 1 });
  let next: readonly number[] = expected.prompt;
  let past = empty(1);
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
    assert.equal(logits.length, config.vocabulary);
    next = [logits.indexOf(Math.max(...logits))];
    continuation.push(next[0]!);
    past = Object.fromEntries(pasts.map((name) => [`past_key_values.${name}`, outputs[`present.${name}`]!]));
  }
  assert.deepEqual(continuation, expected.greedy_continuation);
  await session.close();
});
