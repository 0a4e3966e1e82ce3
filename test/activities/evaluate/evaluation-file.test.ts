import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { evaluate } from "../../../activities/evaluate/evaluate.js";
import { DOLLY_INSTRUCTIONS } from "../../../activities/evaluate/samples.js";
import { promptOf } from "../../../core/text/prompt.js";
import { outputNamed } from "../../../core/stages/results.js";
import { madeDependencies, madeRequest, madeRows } from "./made-models.js";

const root = mkdtempSync(join(tmpdir(), "roslin-evaluation-file-"));
after(() => rmSync(root, { recursive: true }));

const FIGURES = {
  perplexity: { base: 2.1769111682210207, tuned: 1.3880598444375647 },
  gate: { judged: true, passed: true, ratio: 0.6376281516217733, maxPerplexityRatio: 1 },
  heldOut: { rows: 20, labels: 430 },
};
const INTERVAL = {
  level: 0.95,
  resamples: 10_000,
  seed: 42,
  base: [2.117000016612675, 2.272296096034973],
  tuned: [1.3498588075760032, 1.4488799596521513],
  // the tuned model loses as much less on every row
  ratio: [0.6376281516217732, 0.6376281516217734],
};
const REPEATED = "again and ".repeat(20).slice(0, 128).trim();

test("evaluation.json of a small run is this text, and the metrics are its figures", async () => {
  const request = await madeRequest(root, { generateSamples: 2 });
  const result = await evaluate(madeDependencies(madeRows(20)), request, {
    signal: new AbortController().signal,
    progress: () => undefined,
  });
  const first = { instruction: "Say 0 in a word.", input: "The number is 0." };
  const second = { instruction: "Say 10 in a word." };
  const samples = [
    { row: 1, prompt: promptOf(first), ...first, expected: "one", base: REPEATED, tuned: "a <word>" },
    { row: 31, prompt: promptOf(second), ...second, expected: "one two three", base: REPEATED, tuned: "a <word>" },
    ...DOLLY_INSTRUCTIONS.map((instruction) => ({
      kind: "dolly",
      prompt: promptOf({ instruction }),
      instruction,
      base: REPEATED,
      tuned: "a <word>",
    })),
  ];
  assert.equal(
    readFileSync(fileURLToPath(outputNamed(result.outputs, "report").uri), "utf8"),
    `${JSON.stringify({ ...FIGURES, interval: INTERVAL, samples }, null, 2)}\n`,
  );
  const { seconds, ...metrics } = result.metrics;
  assert.equal(typeof seconds, "number");
  assert.deepEqual(metrics, { ...FIGURES, samples: 7 });
});
