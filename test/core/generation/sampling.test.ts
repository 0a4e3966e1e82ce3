import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { chooseToken, drawAt, filterLogits, GREEDY, penalize, type Sampling } from "../../../core/generation/sampling.js";
import { LEAST_DIVISOR } from "../../../core/config/evaluate.js";
import { REFERENCE } from "../model/reference.js";

type Case = Omit<Sampling, "seed"> & {
  readonly logits: readonly number[];
  readonly said: readonly number[];
  readonly left: readonly (number | null)[];
};
const figures = JSON.parse(readFileSync(join(REFERENCE, "sampling.json"), "utf8")) as Case[];

test("what is left of logits is what transformers' processors leave", () => {
  for (const { logits, said, left, ...sampling } of figures) {
    const got = Float32Array.from(logits);
    penalize(got, new Set(said), sampling.repetitionPenalty);
    filterLogits(got, { ...sampling, seed: 0 });
    const where = JSON.stringify(sampling);
    assert.deepEqual(
      Array.from(got, (value) => value > -Infinity),
      left.map((value) => value !== null),
      where,
    );
    for (const [id, value] of left.entries())
      if (value !== null) assert.ok(Math.abs(got[id]! - value) <= 1e-6 * Math.max(1, Math.abs(value)), where);
  }
  assert.ok(figures.length > 20);
});

test("draws have the softmax's shares, in the order of ids, and never what was left out", () => {
  const logits = Float32Array.from([Math.log(1), -Infinity, Math.log(2), Math.log(1)]);
  assert.deepEqual(
    [0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2 ** -53].map((u) => drawAt(logits, u)),
    [0, 0, 2, 2, 3, 3],
  );
  const counts = [0, 0, 0, 0];
  for (let index = 0; index < 4000; index++) counts[chooseToken(logits.slice(), [], { ...GREEDY, temperature: 1, seed: 9 }, 5, index)]!++;
  assert.equal(counts[1], 0);
  assert.ok(Math.abs(counts[2]! - 2000) < 120, counts.join(" "));
});

test("a draw depends on the seed, the sequence and the place, and on nothing drawn before", () => {
  const logits = Float32Array.from({ length: 1000 }, (_, id) => Math.sin(id));
  const draw = (seed: number, stream: number, index: number): number =>
    chooseToken(logits.slice(), [], { ...GREEDY, temperature: 1, seed }, stream, index);
  assert.equal(draw(1, 2, 3), draw(1, 2, 3));
  assert.equal(new Set([draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)]).size, 4);
});

test("greedy choice takes the first of the likeliest tokens, after the penalty", () => {
  assert.equal(chooseToken(Float32Array.of(1, 3, 3, 2), [], GREEDY, 0, 0), 1);
  assert.equal(chooseToken(Float32Array.of(1, 3, 3, 2), [1], { ...GREEDY, repetitionPenalty: 2 }, 0, 0), 2);
});

test("logits that cannot be compared are refused with their place, greedy or drawn", () => {
  const wrong: readonly (readonly [readonly number[], RegExp])[] = [
    [[NaN, NaN, NaN], /\[model=m, token=0, got=NaN\]/],
    [[1, 2, NaN], /\[model=m, token=2, got=NaN\]/],
    [[1, Infinity, 2], /\[model=m, token=1, got=Infinity\]/],
    [[-Infinity, -Infinity], /\[model=m, got=-Infinity for every token\]/],
  ];
  for (const sampling of [GREEDY, { ...GREEDY, temperature: 1 }, { ...GREEDY, temperature: 1, topP: 0.5 }])
    for (const [logits, message] of wrong)
      assert.throws(
        () => chooseToken(Float32Array.from(logits), [], sampling, 0, 0, { model: "m" }),
        (error) => error instanceof UserError && message.test(error.message),
      );
  assert.equal(chooseToken(Float32Array.of(-Infinity, 1), [], GREEDY, 0, 0), 1);
});

test("at the least temperature the likeliest token is drawn, whatever the logits", () => {
  for (const logits of [
    [-1, -2, -3],
    [-3, 1e29, 5],
    [5, 8, 7],
  ])
    for (const topP of [1, 0.5])
      assert.equal(
        chooseToken(Float32Array.from(logits), [], { ...GREEDY, temperature: LEAST_DIVISOR, topP }, 0, 0),
        logits.indexOf(Math.max(...logits)),
      );
});
