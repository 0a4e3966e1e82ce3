import { bfloatToFloat, halfToFloat } from "../../core/format/floats.js";
import type { Tensor } from "../../core/graph/tensor.js";

/** Rows `at` of a table [V,D] of any float type, one after the other, as fp32. */
export function lookUp({ type, data, shape }: Tensor, at: ArrayLike<number>, rows: Float32Array): void {
  const width = shape[1]!;
  for (let index = 0; index < at.length; index++) {
    const [first, end] = [at[index]! * width, (at[index]! + 1) * width];
    const target = rows.subarray(index * width, (index + 1) * width);
    if (type === "float32") target.set(data.subarray(first, end));
    else if (type === "float16") halfToFloat(data.subarray(first, end), target);
    else bfloatToFloat((data as Uint16Array).subarray(first, end), target);
  }
}
