import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { packRows as pack, type PackedRows } from "../../../../core/model/common/pack.js";
import { rotaryFrequencies, rotaryTables } from "../../../../core/model/common/rotary.js";
import type { TokenRow } from "../../../../core/rows/token-rows.js";
import { parseGptjConfig } from "../../../../core/model/gptj/config.js";

const config = parseGptjConfig(
  { model_type: "gptj", n_layer: 1, n_head: 2, n_embd: 8, vocab_size: 50, n_positions: 6, rotary_dim: 4 },
  "test",
);
const table = rotaryTables(config.positions, rotaryFrequencies(config.rotaryDim));
const packRows = (rows: TokenRow[], shape: typeof config): PackedRows => pack(rows, shape, table);
const row = (source: number, inputIds: number[], labels: number[]): TokenRow => ({
  source,
  inputIds: Int32Array.from(inputIds),
  labels: Int32Array.from(labels),
});

describe("packRows", () => {
  const packed = packRows([row(0, [7, 8], [-100, 8]), row(1, [1, 2, 3], [1, -100, 3])], config);

  it("lays rows end to end", () => {
    assert.equal(packed.tokens, 5);
    assert.deepEqual(
      packed.rows.map(({ first, length }) => [first, length]),
      [
        [0, 2],
        [2, 3],
      ],
    );
    assert.deepEqual([...packed.ids], [7, 8, 1, 2, 3]);
  });

  it("finds the tokens whose next one in the same row has a label", () => {
    assert.deepEqual([...packed.lossAt], [0, 3]);
    assert.deepEqual([...packed.targets], [8, 3]);
  });

  it("starts each row at position 0 and hides what comes later", () => {
    const { cos, sin } = packed.tables;
    const { causal } = packed.rows[1]!;
    const [cosines, sines] = [table.cos.data as Float32Array, table.sin.data as Float32Array];
    assert.deepEqual([...(cos!.data as Float32Array)], [...cosines.subarray(0, 4), ...cosines.subarray(0, 6)]);
    assert.deepEqual([...(sin!.data as Float32Array)], [...sines.subarray(0, 4), ...sines.subarray(0, 6)]);
    assert.deepEqual(
      [...(causal.data as Float32Array)].map((value) => value === 0),
      [true, false, false, true, true, false, true, true, true],
    );
  });

  it("computes tokens that rows share once", () => {
    const tails = [
      { ...row(1, [1, 2, 9, 8], [-100, -100, 9, 8]), shared: 2 },
      { ...row(2, [1, 2, 3], [-100, 5, -100, 7]), shared: 3 },
    ];
    const { tokens, rows, ids, lossAt, targets, tables } = packRows(
      [row(0, [1, 2, 3], [-100, -100, 3]), ...tails, row(3, [4], [-100])],
      config,
    );
    assert.equal(tokens, 6);
    assert.deepEqual([...ids], [1, 2, 3, 9, 8, 4]);
    assert.deepEqual(
      rows.map(({ first, length }) => [first, length]),
      [
        [0, 5],
        [5, 1],
      ],
    );
    assert.deepEqual([...lossAt], [1, 1, 3, 0, 2]);
    assert.deepEqual([...targets], [3, 9, 8, 5, 7]);
    const seen = [...(rows[0]!.causal.data as Float32Array)].map((value) => (value === 0 ? 1 : 0));
    assert.deepEqual(seen, [1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1]);
    const cosines = table.cos.data as Float32Array;
    assert.deepEqual(
      [...(tables["cos"]!.data as Float32Array)],
      [0, 1, 2, 2, 3, 0].flatMap((at) => [...cosines.subarray(2 * at, 2 * at + 2)]),
    );
  });

  it("takes no rows at all", () => {
    const none = packRows([], config);
    assert.deepEqual([none.tokens, none.rows.length, none.lossAt.length], [0, 0, 0]);
  });

  it("refuses a row longer than the model's positions, naming it", () => {
    assert.throws(() => packRows([row(9, [1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1])], config), /row=9, expected=6, got=7/);
  });

  it("refuses tokens and labels that the model doesn't know", () => {
    assert.throws(() => packRows([row(3, [50], [1])], config), { name: "UserError", message: /row=3, expected=0 to 49, got=50/ });
    assert.throws(() => packRows([row(3, [1, 2], [1, -7])], config), /got=-7/);
  });
});
