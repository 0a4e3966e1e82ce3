import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { rougeL } from "../../../core/text/rouge.js";
import { REFERENCE } from "../model/reference.js";

test("ROUGE-L is rouge_score's F-measure without a stemmer", () => {
  const figures = JSON.parse(readFileSync(join(REFERENCE, "rouge.json"), "utf8")) as { reference: string; answer: string; f: number }[];
  for (const { reference, answer, f } of figures) assert.ok(Math.abs(rougeL(reference, answer) - f) < 1e-12, `${reference} / ${answer}`);
  assert.equal(figures.length, 32);
});
