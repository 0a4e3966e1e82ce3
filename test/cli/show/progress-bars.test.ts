import assert from "node:assert/strict";
import { test } from "node:test";
import type { Progress } from "../../../core/stages/results.js";
import { describe, progressView, secondsLeft } from "../../../cli/show/progress-bars.js";
import { bytes, duration } from "../../../core/units.js";

const steps = (done: number, more: Partial<Progress> = {}): Progress => ({ stage: "train", done, total: 40, unit: "steps", ...more });

test("a line names what is done, the loss, the speed and the time left", () => {
  assert.equal(
    describe(steps(12, { loss: 3.2123, tokensPerSecond: 950.4 }), 25),
    "train      12 of 40 steps, loss 3.212, 950 tokens/s, 25 s left",
  );
  assert.equal(
    describe({ stage: "download", done: 1.5e9, total: 12.1e9, unit: "bytes", note: "model.safetensors" }, null),
    "download   1.5 GB of 12.1 GB, model.safetensors",
  );
  assert.equal(describe({ stage: "train", done: 0, total: 0, unit: "steps", note: "waiting" }, null), "train      waiting");
});

test("the time left follows the speed since the stage was first seen, and is silent while that says little", () => {
  assert.equal(secondsLeft(steps(20), 10, 10), 20);
  assert.equal(secondsLeft(steps(10), 10, 10), null);
  assert.equal(secondsLeft(steps(40), 10, 10), null);
  assert.equal(secondsLeft({ stage: "publish", done: 10, total: 1e6, unit: "bytes" }, 0, 10), null);
});

test("a pipe gets a line now and then, the last one in any case, and none twice", () => {
  let time = 0;
  let out = "";
  const view = progressView({ write: (text) => (out += text) }, () => time);
  for (; time <= 4000; time += 500) view.show(steps(time / 500));
  view.line("worker 3 was lost");
  view.end();
  assert.deepEqual(out.split("\n"), [
    "train      0 of 40 steps",
    "train      6 of 40 steps, 17 s left",
    "train      8 of 40 steps, 16 s left",
    "worker 3 was lost",
    "",
  ]);
});

test("a lasting word gets a line of its own, once, however soon the next one comes", () => {
  let out = "";
  const view = progressView({ write: (text) => (out += text) }, () => 0);
  view.show(steps(1));
  for (let look = 0; look < 3; look++) view.show({ ...steps(2, { note: "a checkpoint is set aside" }), lasting: true });
  view.show(steps(3));
  view.end();
  assert.deepEqual(out.split("\n"), [
    "train      1 of 40 steps",
    "train      2 of 40 steps, a checkpoint is set aside",
    "train      3 of 40 steps",
    "",
  ]);
});

test("the speed is measured anew when a stage goes on from its checkpoint after a kill", () => {
  let time = 0;
  let out = "";
  const view = progressView({ write: (text) => (out += text) }, () => time);
  view.show(steps(20));
  for (const [at, done] of [
    [10_000, 30],
    [20_000, 25],
    [30_000, 35],
  ] as const) {
    time = at;
    view.show(steps(done));
  }
  assert.match(out, /25 of 40 steps\n.*35 of 40 steps, 5 s left\n$/);
});

test("what was not yet shown does not come after the line that ends its stage", () => {
  let time = 0;
  let out = "";
  const view = progressView({ write: (text) => (out += text) }, () => time);
  view.show(steps(0));
  time = 1000;
  view.show(steps(39));
  view.line("train      done in 1.0 s");
  view.show({ stage: "evaluate", done: 0, total: 4, unit: "items" });
  view.end();
  assert.match(out, /0 of 40 steps\n.*39 of 40 steps.*\ntrain {6}done in 1\.0 s\nevaluate.*\n$/);
});

test("a terminal gets a bar that is drawn over and fits its width", () => {
  let time = 0;
  let out = "";
  const view = progressView({ isTTY: true, columns: 40, write: (text) => (out += text) }, () => time);
  view.show(steps(0));
  time = 5000;
  view.show(steps(20, { loss: 1, tokensPerSecond: 1000, note: "a long note that does not fit any more" }));
  view.end();
  const drawn = out.split("\r\u001b[2K").slice(1);
  assert.equal(drawn[0], "[........................] train      0");
  assert.equal(drawn[1], "[############............] train      2\n");
});

test("bytes and durations are short", () => {
  assert.deepEqual([0, 999, 1000, 999_949, 999_960, 53_400_000, 24.2e9].map(bytes), [
    "0 B",
    "999 B",
    "1.0 kB",
    "999.9 kB",
    "1.0 MB",
    "53.4 MB",
    "24.2 GB",
  ]);
  assert.deepEqual([0, 0.4, 9.96, 59.4, 59.6, 61, 7300, 273_600].map(duration), [
    "0 s",
    "0.4 s",
    "10 s",
    "59 s",
    "1 min",
    "1 min 1 s",
    "2 h 1 min",
    "3 d 4 h",
  ]);
});
