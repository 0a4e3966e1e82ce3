import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { benchGenerate, showGenerate } from "../../bench/generate.js";
import { inDirectory } from "../../bench/run.js";
import { UserError } from "../../core/errors.js";
import { REFERENCE } from "../core/model/reference.js";

const JOB = { width: 16, layers: 2, heads: 2, rotary: 4, vocabulary: 60, length: 12, rows: 1, dataset: null };

test("bench generate answers with one sequence and with eight, and tells tokens a second", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "bench-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const signal = new AbortController().signal;
  const options = { model: null, job: JOB, rounds: 2, tokens: 5, python: null };
  const figures = await inDirectory(root, (directory) => benchGenerate(options, directory, signal, () => undefined));
  assert.deepEqual(
    figures.batches.map(({ batch, ours, theirs, ratio }) => [batch, ours.length, theirs.length, ratio]),
    [
      [1, 2, 0, null],
      [8, 2, 0, null],
    ],
  );
  assert.match(
    showGenerate(figures),
    /^new tokens a second, 5 after 32 of a prompt.*\nsequences +ours +rounds\n1 +[\d.]+ +[\d.]+ to [\d.]+\n8 /,
  );
  assert.deepEqual(await readdir(root), [], "nothing is left behind");
  const model = join(REFERENCE, "gptj-tiny");
  await assert.rejects(
    benchGenerate({ ...options, model, tokens: 97 }, root, signal, () => undefined),
    (error) => error instanceof UserError && /\[prompt=32, tokens=97, positions=128\]/.test(error.message),
  );
});

test("bench generate shows the quotients beside a peer, and how many sequences are the same", () => {
  const batches = [{ batch: 8, ours: [200, 220, 180], theirs: [50, 55, 60], ratio: 4, same: 7 }];
  const text = showGenerate({ threads: 2, promptTokens: 36, tokens: 64, versions: "PyTorch 2, transformers 5", batches });
  assert.match(text, /2 threads; theirs: PyTorch 2, transformers 5\n/);
  assert.match(text, /^8 +200 +180 to 220 +55\.0 +50\.0 to 60\.0 +4\.00 x +7 of 8$/m);
});
