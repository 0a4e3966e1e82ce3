import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { showDownload } from "../../bench/download.js";
import { benchPublish, showPublish } from "../../bench/publish.js";
import { inDirectory } from "../../bench/run.js";
import { showScale } from "../../bench/scale.js";
import { benchTrain, showTrain } from "../../bench/train.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";

const JOB = { width: 16, layers: 2, heads: 2, rotary: 4, vocabulary: 60, length: 12, rows: 1, dataset: null };

test("bench train trains on real workers and tells where the time went", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "bench-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const signal = new AbortController().signal;
  const figures = await inDirectory(root, (directory) =>
    benchTrain(JOB, { workers: 2, rounds: 1, steps: 3, python: null, peers: [] }, directory, signal, () => undefined),
  );
  assert.equal(figures.seconds.length, 2);
  assert.ok(figures.tokensPerSecond > figures.lossTokensPerSecond && figures.lossTokensPerSecond > figures.rowsPerSecond);
  assert.ok(Math.abs(Object.values(figures.shares).reduce((sum, share) => sum + share, 0) - 1) < 1e-9);
  assert.ok(figures.reached > 0 && figures.best > figures.reached);
  assert.match(showTrain(JOB, figures), /^time .*graphs [\d.]+ %.*waiting/m);
  assert.deepEqual(await readdir(root), [], "nothing is left behind");
});

test("bench scale compares the growth of time with that of arithmetic", () => {
  const job = { width: 256, layers: 4, heads: 4, rotary: 32, vocabulary: 8192, length: 128, rows: 2, dataset: null };
  const text = showScale([
    { job, seconds: 0.5, flops: 50e9 },
    { job: { ...job, rows: 4 }, seconds: 1, flops: 100e9 },
  ]);
  assert.match(text, /^4 layers, 256 wide, 8 x 4 rows of 128 +1\.00 s +100 GFLOP +2\.00 x +2\.00 x +100 GFLOP$/m);
});

test("bench download compares every client's time with ours", () => {
  const text = showDownload([
    {
      place: "one",
      files: 1,
      bytes: 1e9,
      clients: [
        { name: "roslin", seconds: [2, 1, 3], memory: 2e8 },
        { name: "curl", seconds: [1, 1, 4], memory: 0 },
      ],
    },
  ]);
  assert.match(text, /^roslin +2\.00 s +1\.00 to 3\.00 s +500 MB\/s +1\.00 x +200 MB$/m);
  assert.match(text, /^curl +1\.00 s +1\.00 to 4\.00 s +1000 MB\/s +0\.50 x$/m);
});

test("bench publish uploads in a process of its own to a real server, and leaves nothing", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "bench-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const { tools, variables } = readEnvironment(process.env, CHECKOUT);
  const signal = new AbortController().signal;
  const options = { gib: 1 / 64, rounds: 1, peers: [] };
  const figures = await inDirectory(root, (directory) => benchPublish(options, variables, tools, directory, signal, () => undefined));
  assert.match(showPublish(figures), /^1 file, 17 MB .*\nroslin +[\d.]+ s +[\d.]+ to [\d.]+ s +\d+ MB\/s +1\.00 x/);
  assert.deepEqual(await readdir(root), []);
  await assert.rejects(
    benchPublish({ ...options, peers: ["rsync"] }, variables, tools, root, signal, () => undefined),
    /there is no such peer/,
  );
});
