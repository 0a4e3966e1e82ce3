import assert from "node:assert/strict";
import { test } from "node:test";
import { inDirectory } from "../../../bench/run.js";
import { benchSideBySide, CONTENDERS } from "../../../bench/side-by-side.js";

const JOB = { width: 64, layers: 2, heads: 2, rotary: 4, vocabulary: 1024, length: 64, rows: 2, dataset: null };

test("the engines train the same steps beside each other, each with a rank killed", async () => {
  const options = { contenders: CONTENDERS.slice(0, 2), workers: 2, rounds: 1, steps: 8, gpus: [] };
  const signal = new AbortController().signal;
  const [onnx, deepspeed] = await inDirectory(undefined, (directory) => benchSideBySide(JOB, options, directory, signal, () => undefined));
  assert.ok(deepspeed!.lossDifference > 0 && deepspeed!.lossDifference < 5e-6);
  for (const { rank, compute } of deepspeed!.ranks) assert.ok(rank > 20e6 && compute > 200e6);
  for (const { lost, firstStep } of [onnx!, deepspeed!]) assert.ok(lost[0]! > 0 && firstStep[0]! > 0);
});
