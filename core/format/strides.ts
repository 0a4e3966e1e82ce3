/** Tensors that do not lie in row-major order: views, such as a transposed or an expanded tensor. */

/** How a tensor lies in memory. */
export interface View {
  readonly shape: readonly number[];
  /** elements from one entry of each axis to the next, 0 or more */
  readonly stride: readonly number[];
}

/** Whether a view's elements lie one after the other in row-major order. */
export function isRowMajor({ shape, stride }: View): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && stride[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/** Number of elements in memory from a view's first to its last, both included: the view's span. */
export function spanOf({ shape, stride }: View): number {
  return shape.includes(0) ? 0 : shape.reduce((sum, size, axis) => sum + (size - 1) * stride[axis]!, 1);
}

/** Copies elements [first, first + out.length) of a view, counted in row-major order, from its span to `out`. */
export function gather<T extends Uint16Array | Float32Array>({ shape, stride }: View, span: T, first: number, out: T): void {
  const place = shape.map(() => 0);
  let rest = first;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    place[axis] = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  let from = place.reduce((sum, index, axis) => sum + index * stride[axis]!, 0);
  for (let i = 0; i < out.length; i++) {
    out[i] = span[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += stride[axis]!;
      if (++place[axis]! < shape[axis]!) break;
      from -= shape[axis]! * stride[axis]!;
      place[axis] = 0;
    }
  }
}
