import { UserError } from "../../core/errors.js";
import { firstNonFinite } from "../../core/format/floats.js";
import { indexIn } from "../../core/graph/tensor.js";
import type { TensorSource } from "../../core/model/family.js";
import type { WeightFile } from "./weight-file.js";

/** Reading a parameter [O, …] that lies in a file as its family says. */

/** Elements [first, first + out.length) of a parameter, in row-major order, as fp32. Throws UserError for a value that is not finite. */
export function readParameter(file: WeightFile, source: TensorSource, first: number, out: Float32Array): void {
  if (source.row === undefined && source.transposed !== true) return readFinite(file, source, first, out);
  if (out.length === 0) return;
  const [rows, ...inner] = source.transposed === true ? source.shape.toReversed() : source.shape;
  const width = inner.reduce((product, size) => product * size, 1);
  const start = Math.floor(first / width);
  const end = Math.ceil((first + out.length) / width);
  // whole rows, of which the first and the last may be wanted in part
  const whole = (end - start) * width === out.length ? out : new Float32Array((end - start) * width);
  for (const run of runsOf(source, start, end)) {
    const target = whole.subarray((run.row - start) * width, (run.row - start + run.count) * width);
    if (source.transposed === true) readColumns(file, source, run.from, { width, columns: rows! }, target);
    else readFinite(file, source, run.from * width, target);
  }
  if (whole !== out) out.set(whole.subarray(first - start * width, first - start * width + out.length));
}

/** Rows [row, row + count) of a parameter, which are the tensor's rows from `from` on. */
interface Run {
  readonly row: number;
  readonly from: number;
  readonly count: number;
}

/** The parameter's rows [start, end) in as few runs as there are. */
function runsOf({ row: rowOf = (row) => row }: TensorSource, start: number, end: number): Run[] {
  const runs: { row: number; from: number; count: number }[] = [];
  for (let row = start; row < end; row++) {
    const from = rowOf(row);
    const last = runs.at(-1);
    if (last !== undefined && from === last.from + last.count) last.count++;
    else runs.push({ row, from, count: 1 });
  }
  return runs;
}

/** Columns of a matrix [width, columns], from `from` on, as the rows of `target` [count, width]. */
function readColumns(
  file: WeightFile,
  source: TensorSource,
  from: number,
  { width, columns }: { readonly width: number; readonly columns: number },
  target: Float32Array,
): void {
  const count = target.length / width;
  const part = new Float32Array(count);
  for (let at = 0; at < width; at++) {
    readFinite(file, source, at * columns + from, part);
    for (let row = 0; row < count; row++) target[row * width + at] = part[row]!;
  }
}

/** Elements read before they are looked at: they are still in the processor's cache then. */
const LOOK = 1 << 18;

/** Reads floats and looks at each: training would blame its rows for what was wrong before. */
function readFinite(file: WeightFile, source: TensorSource, first: number, out: Float32Array): void {
  for (let at = 0; at < out.length; at += LOOK) readSlice(file, source, first + at, out.subarray(at, at + LOOK));
}

function readSlice(file: WeightFile, { tensor, shape }: TensorSource, first: number, out: Float32Array): void {
  file.readFloats(tensor, first, out);
  const at = firstNonFinite(out);
  if (at === -1) return;
  throw new UserError("a weight of the model is not a finite number: get the file again, or save it again from a model that is whole", {
    file: file.path,
    tensor,
    index: indexIn(shape, first + at),
    got: String(out[at]),
  });
}
