import { floats, type Tensor } from "../../graph/tensor.js";

/** Cosines and sines [positions, rotaryDim/2] of each position's angles, rounded where torch rounds them. */
export function rotaryTables(positions: number, rotaryDim: number): { readonly cos: Tensor; readonly sin: Tensor } {
  const half = rotaryDim / 2;
  const frequencies = Array.from({ length: half }, (_, pair) => Math.fround(1 / Math.fround(10000 ** Math.fround((2 * pair) / rotaryDim))));
  const angle = (at: number): number => Math.fround(Math.floor(at / half) * frequencies[at % half]!);
  const table = (f: (angle: number) => number): Tensor =>
    floats(
      Float32Array.from({ length: positions * half }, (_, at) => f(angle(at))),
      positions,
      half,
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}
