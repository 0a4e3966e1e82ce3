import { floats, type Tensor } from "../../graph/tensor.js";

/** The angle [rotaryDim/2] by which each pair turns from one position to the next, rounded where torch rounds it. */
export function rotaryFrequencies(rotaryDim: number, base = 10000): number[] {
  return Array.from({ length: rotaryDim / 2 }, (_, pair) => Math.fround(1 / Math.fround(base ** Math.fround((2 * pair) / rotaryDim))));
}

/** Cosines and sines [positions, pairs] of each position's angles, rounded where torch rounds them. */
export function rotaryTables(positions: number, frequencies: readonly number[]): { readonly cos: Tensor; readonly sin: Tensor } {
  const half = frequencies.length;
  const angle = (at: number): number => Math.fround(Math.floor(at / half) * frequencies[at % half]!);
  const table = (f: (angle: number) => number): Tensor =>
    floats(
      Float32Array.from({ length: positions * half }, (_, at) => f(angle(at))),
      positions,
      half,
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}
