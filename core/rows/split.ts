import { permutation } from "./random.js";

/** Stream of the seed that splits; training's epochs use the others. */
const SPLIT_STREAM = 0;

/** Marks `testRows` of `rows` rows, drawn by the seed: 1 in the test split, 0 in the training split. */
export function splitRows(rows: number, testRows: number, seed: number): Uint8Array {
  const isTest = new Uint8Array(rows);
  for (const row of permutation(rows, seed, SPLIT_STREAM).subarray(0, testRows)) isTest[row] = 1;
  return isTest;
}
