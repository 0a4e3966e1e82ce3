import assert from "node:assert/strict";
import { test } from "node:test";
import { AbortedError, Control } from "../../../engines/onnx/control.js";

test("a compute thread that was about to sleep at a barrier hears of an abort", (t) => {
  const control = new Control();
  const sleep = Atomics.wait;
  const ends: string[] = [];
  t.mock.method(Atomics, "wait", (words: Int32Array, index: number, value: number) => {
    // after the thread has looked, and before it sleeps
    control.abort();
    const end = sleep(words, index, value, 100);
    ends.push(end);
    return end;
  });
  assert.throws(() => control.wait(1), AbortedError);
  assert.deepEqual(ends, ["not-equal"]);
});

test("an abort is not taken for the release of a barrier", () => {
  const control = new Control();
  control.abort();
  assert.throws(() => control.wait(1), AbortedError);
  control.release(1, "go");
  assert.throws(() => control.wait(1), AbortedError);
});
