import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inDirectory } from "../../bench/run.js";
import { benchSideBySide, CONTENDERS, showSideBySide } from "../../bench/side-by-side.js";
import { main } from "../../cli/main.js";

const JOB = { width: 64, layers: 2, heads: 2, rotary: 4, vocabulary: 4096, length: 64, rows: 2, dataset: null };

test("a rank is killed in each run, and what that cost is measured, as is each rank's memory", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "bench-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const said: string[] = [];
  const options = { contenders: CONTENDERS.slice(0, 1), workers: 2, rounds: 1, steps: 4, gpus: [] };
  const signal = new AbortController().signal;
  const [onnx] = await inDirectory(root, (directory) => benchSideBySide(JOB, options, directory, signal, (line) => said.push(line)));
  assert.equal(said.filter((line) => line.endsWith("killed a rank")).length, 1);
  assert.equal(onnx!.firstStep.length, 1);
  assert.ok(onnx!.lost.length === 1 && onnx!.lost.every((seconds) => seconds > 0.1));
  assert.equal(onnx!.ranks.length, 2);
  for (const { rank, compute } of onnx!.ranks) assert.ok(rank > 20e6 && compute === 0);

  // both map the weights, which count once
  assert.ok(onnx!.memory > 0 && onnx!.memory < onnx!.ranks.reduce((sum, { rank }) => sum + rank, 0));
  assert.equal(onnx!.lossDifference, 0);
  assert.deepEqual(await readdir(root), [], "nothing is left behind");
});

test("the table has medians, the largest rank, and how far losses lie apart", () => {
  const ranks = [
    { rank: 1e8, compute: 2e9 },
    { rank: 2e8, compute: 1e9 },
  ];
  const figures = {
    tokensPerSecond: 1234,
    rowsPerSecond: 9,
    firstStep: [3, 1, 2],
    lost: [7, 9, 8],
    ranks,
    memory: 3e9,
    lossDifference: 2e-6,
  };
  const onnx = { ...figures, name: "onnx", ranks: ranks.map(({ rank }) => ({ rank, compute: 0 })), lossDifference: 0 };
  const text = showSideBySide([onnx, { ...figures, name: "deepspeed" }]);
  assert.match(text, /^onnx +1234 +9\.00 +2\.00 s +8\.00 s +200 MB +3000 MB$/m);
  assert.match(text, /^deepspeed +1234 +9\.00 +2\.00 s +8\.00 s +200 MB +2000 MB +3000 MB +2e-6$/m);
});

test("options that nothing would read are refused", async () => {
  for (const args of [
    ["train", "--engine", "onnx"],
    ["train", "--gpus"],
    ["memory", "--engine", "deepspeed"],
    ["train", "--engine", "deepspeed", "--against", "python3"],
  ])
    assert.equal(await main(["bench", ...args]), 2, args.join(" "));
});
