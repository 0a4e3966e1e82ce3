import type { MicroBatchPlan, ShardRows } from "../../../core/training/step-plan.js";
import type { OwnedSlice } from "./owner.js";

/**
 * The embedding's gradient travels as the rows that were touched; owners add up those of their words, in the order of shards
 * and positions. One object serves step after step, because memory in small pieces is slow to get. T tokens of all shards, D the model's width.
 */
export class EmbeddingSums {
  private readonly width: number;
  /** [D] of each word that the step's rows have had so far */
  private readonly sums = new Map<number, Float64Array>();
  private readonly spare: Float64Array[] = [];
  /** the words whose gradients are not zero since the step before */
  private touched: readonly number[] = [];

  constructor(width: number) {
    this.width = width;
  }

  /** Forgets a step that is computed once more. */
  clear(): void {
    for (const sum of this.sums.values()) this.spare.push(sum);
    this.sums.clear();
  }

  /** Writes hosted rows' gradients to where all ranks find them. */
  share(shared_TD: Float32Array, rows: readonly { readonly plan: ShardRows; readonly gradient: Float32Array }[]): void {
    for (const { plan, gradient } of rows) shared_TD.set(gradient, plan.firstToken * this.width);
  }

  /** Adds up what belongs to the hosted owners' slices, which follow each other, when all ranks have shared theirs. */
  add(shared_TD: Float32Array, owned: readonly OwnedSlice[], batch: MicroBatchPlan): void {
    const D = this.width;
    const first = owned[0]!.firstRow;
    const end = owned.at(-1)!.firstRow + owned.at(-1)!.rows;
    let token = 0;
    for (const { rows } of batch.shards)
      for (const { inputIds } of rows)
        for (const id of inputIds) {
          if (id >= first && id < end) this.addRow(id, shared_TD, token * D);
          token++;
        }
  }

  private addRow(id: number, gradients_TD: Float32Array, offset: number): void {
    const D = this.width;
    let sum_D = this.sums.get(id);
    if (sum_D === undefined) this.sums.set(id, (sum_D = this.spare.pop()?.fill(0) ?? new Float64Array(D)));
    for (let i = 0; i < D; i++) sum_D[i]! += gradients_TD[offset + i]!;
  }

  /** Rounds the step's sums into the owners' gradients; words that no row has get zero. `tied`: they are added to what the head has left there. */
  finish(owned: readonly OwnedSlice[], tied: boolean): void {
    const D = this.width;
    for (const { gradient, firstRow, rows } of owned) {
      const owns = (id: number): boolean => id >= firstRow && id < firstRow + rows;
      if (!tied) for (const id of this.touched) if (owns(id)) gradient.fill(0, (id - firstRow) * D, (id - firstRow + 1) * D);
      for (const [id, sum] of this.sums) {
        if (!owns(id)) continue;
        const at = (id - firstRow) * D;
        if (tied) for (let i = 0; i < D; i++) sum[i]! += gradient[at + i]!;
        gradient.set(sum, at);
      }
    }
    this.touched = [...this.sums.keys()];
    this.clear();
  }
}
