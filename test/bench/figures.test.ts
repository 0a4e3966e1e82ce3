import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkpointFigures } from "../../bench/checkpoint.js";
import { median, percent, short, table } from "../../bench/figures.js";
import { programFlops, stepFlops } from "../../bench/flops.js";
import { parameterCount } from "../../core/model/family.js";
import { DEFAULT_JOB, modelOf, settings, SIZES } from "../../bench/job.js";
import { parseStatus } from "../../bench/memory.js";
import { sharesOf } from "../../bench/train.js";
import { parseRunConfig } from "../../core/config/schema.js";
import type { GptjShape } from "../../core/model/gptj/config.js";
import { blockPrograms } from "../../core/model/gptj/training.js";

describe("arithmetic counted from shapes", () => {
  const model = modelOf({ width: 8, layers: 3, heads: 2, rotary: 4, vocabulary: 50, length: 5, rows: 2, dataset: null });
  const [T, S, D, F] = [10, 5, 8, 32];
  const programs = blockPrograms(model.shape as GptjShape, model.parameters.blocks[0]!);
  const [projections, join, scores] = [2 * T * (3 * D * D + D * F), 2 * T * (D * D + D * F), 2 * S * S * D];
  const block = 3 * (projections + join) + 2 * (2 * scores + 5 * scores);

  it("is a block's six weights, and attention's two products inside a row", () => {
    assert.equal(programFlops(programs.projectForward, { T }), projections);
    assert.equal(programFlops(programs.joinForward, { T }), join);
    assert.equal(programFlops(programs.attendForward, { S }), 2 * scores);
  });

  it("is twice that in the backward pass, which also computes attention's scores again", () => {
    // the backward pass of the projection makes the gradient of the MLP's last weight, too
    assert.equal(programFlops(programs.projectBackward, { T }), 2 * projections + 2 * T * D * F);
    assert.equal(programFlops(programs.joinBackward, { T }), 2 * join - 2 * T * D * F);
    assert.equal(programFlops(programs.attendBackward, { S }), 5 * scores);
  });

  it("is three products of the whole vocabulary for the head, at the positions that carry loss", () => {
    const row = { source: 0, inputIds: new Int32Array(S), labels: new Int32Array(S) };
    const rows = { rows: [row, row], tokens: T, firstToken: 0, positions: 7, firstPosition: 0 };
    const shards = [0, 1, 2, 3].map((shard) => ({ ...rows, shard }));
    const plan = { microBatches: [{ shards, tokens: 4 * T, positions: 7 }], positions: 7, tokens: 4 * T, rows: 8 };
    assert.equal(stepFlops(model, plan), 4 * 3 * block + 3 * 2 * 7 * D * 50 + 2 * 7 * 50);
  });
});

describe("jobs", () => {
  it("have about as many parameters as their names say", () => {
    for (const [millions, job] of Object.entries(SIZES)) {
      const parameters = parameterCount(modelOf(job)) / 1e6;
      assert.ok(Math.abs(parameters / Number(millions) - 1) < 0.03, `${millions} has ${parameters}`);
    }
  });

  it("keep every checkpoint that they write", () => {
    const { train } = settings(DEFAULT_JOB, 13, 3, 0);
    assert.deepEqual([train.maxSteps, train.checkpointEverySteps, train.keepCheckpoints, train.microBatch], [13, 3, 5, 2]);
  });
});

describe("figures", () => {
  it("are medians, three digits long, in columns", () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.deepEqual([short(1234.5), short(12.345), short(0.123)], ["1235", "12.3", "0.12"]);
    assert.equal(percent(0.0834), "8.3 %");
    assert.equal(
      table([
        ["name", "MB"],
        ["a", "100"],
        ["longer", "5"],
      ]),
      "name     MB\na       100\nlonger    5",
    );
  });

  it("share out a step's whole time", () => {
    const spent = { graphs: 6, waiting: 1, reduction: 1, optimizer: 1 };
    const record = { loss: 1, norm: 1, seconds: 10, tokens: 1, labels: 1, rows: 1, spent };
    const shares = sharesOf([record, record]);
    assert.equal(shares.graphs, 0.6);
    assert.ok(Math.abs(shares.other - 0.1) < 1e-12);
  });

  it("compare the steps beside a checkpoint with the rest of its interval, without the first interval", () => {
    const { train } = parseRunConfig({});
    const figures = checkpointFigures([9, 9, 9, 5, 4, 4, 7, 4, 4, 16, 14, 14, 6], [2, 3, 4], 3, train);
    assert.deepEqual([figures.step, figures.writing, figures.added, figures.interval], [4, 3, 2, 150]);
    assert.equal(figures.share, 2 / 602);
    assert.equal(figures.most, 3 / 600);
  });

  it("read a process's own memory from its status", () => {
    const status = "VmHWM:\t  1000 kB\nVmRSS:\t  900 kB\nRssAnon:\t     100 kB\nRssFile:\t 300 kB\nRssShmem:\t     500 kB\n";
    assert.deepEqual(parseStatus(status), { own: 102_400, shared: 512_000, peak: 1_024_000 });
    assert.deepEqual(parseStatus(""), { own: 0, shared: 0, peak: 0 });
  });
});
