/** A growing array of ids. Appending to it makes no garbage. */
export class IdBuffer {
  /** [at least `length`] the ids; values from `length` on mean nothing */
  ids = new Int32Array(1 << 12);
  length = 0;

  /** Makes room for `more` ids after the present ones. */
  reserve(more: number): void {
    if (this.length + more <= this.ids.length) return;
    const larger = new Int32Array(2 * (this.length + more));
    larger.set(this.view());
    this.ids = larger;
  }

  append(ids: ArrayLike<number>): void {
    this.reserve(ids.length);
    this.ids.set(ids, this.length);
    this.length += ids.length;
  }

  /** [length] the ids, as a view that is valid until something is appended. */
  view(): Int32Array {
    return this.ids.subarray(0, this.length);
  }
}
