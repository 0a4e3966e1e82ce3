import { floats, type Tensor } from "../../graph/tensor.js";

/** The angle [rotaryDim/2] by which each pair turns from one position to the next, rounded where torch rounds it. */
export function rotaryFrequencies(rotaryDim: number, base = 10000): number[] {
  return Array.from({ length: rotaryDim / 2 }, (_, pair) => Math.fround(1 / Math.fround(base ** Math.fround((2 * pair) / rotaryDim))));
}

/** Cosines and sines [positions, pairs] of each position's angles, rounded where torch rounds them. */
export function rotaryTables(positions: number, frequencies: readonly number[]): { readonly cos: Tensor; readonly sin: Tensor } {
  const half = frequencies.length;
  const [cos, sin] = [new Float32Array(positions * half), new Float32Array(positions * half)];
  // millions of them, where a model has many positions
  for (let position = 0, at = 0; position < positions; position++)
    for (let pair = 0; pair < half; pair++, at++) {
      const angle = Math.fround(position * frequencies[pair]!);
      cos[at] = Math.cos(angle);
      sin[at] = Math.sin(angle);
    }
  return { cos: floats(cos, positions, half), sin: floats(sin, positions, half) };
}
