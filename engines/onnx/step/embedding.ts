import type { MicroBatchPlan } from "../../../core/training/step-plan.js";
import type { Engine, HostedRows } from "./workplace.js";

/**
 * The embedding's gradient travels as the rows that were touched; owners add up those of their words, in the order of shards
 * and positions. One is used for step after step, for memory in small pieces is slow to come by.
 */
export class EmbeddingSums {
  /** [D] of each word that the step's rows have had so far */
  private readonly sums = new Map<number, Float64Array>();
  private readonly spare: Float64Array[] = [];
  /** the words whose gradients are not zero since the step before */
  private touched: readonly number[] = [];

  /** Forgets a step that is computed once more. */
  clear(): void {
    for (const sum of this.sums.values()) this.spare.push(sum);
    this.sums.clear();
  }

  /** Gives every hosted row's gradient to all. */
  share(engine: Engine, rows: readonly HostedRows[]): void {
    const shared = engine.view(engine.layout.embeddingGradients);
    for (const { plan, gradient } of rows) shared.set(gradient, plan.firstToken * engine.config.width);
  }

  /** Adds up what belongs to the hosted owners, when all have shared theirs. */
  add(engine: Engine, batch: MicroBatchPlan): void {
    const D = engine.config.width;
    const shared = engine.view(engine.layout.embeddingGradients);
    const started = performance.now();
    const owned = engine.owners.map((owner) => owner.slice("transformer.wte.weight"));
    const first = owned[0]!.firstRow;
    const end = owned.at(-1)!.firstRow + owned.at(-1)!.rows;
    let token = 0;
    for (const { rows: batchRows } of batch.shards)
      for (const { inputIds } of batchRows)
        for (const id of inputIds) {
          if (id >= first && id < end) this.addRow(id, shared, token * D, D);
          token++;
        }
    engine.spend("reduction", started);
  }

  private addRow(id: number, gradients: Float32Array, offset: number, D: number): void {
    let sum = this.sums.get(id);
    if (sum === undefined) this.sums.set(id, (sum = this.spare.pop()?.fill(0) ?? new Float64Array(D)));
    for (let i = 0; i < D; i++) sum[i]! += gradients[offset + i]!;
  }

  /** Rounds the step's sums into the owners' gradients; words that no row has get zero. */
  finish(engine: Engine): void {
    const D = engine.config.width;
    const started = performance.now();
    for (const owner of engine.owners) {
      const { gradient, firstRow, rows } = owner.slice("transformer.wte.weight");
      const owns = (id: number): boolean => id >= firstRow && id < firstRow + rows;
      for (const id of this.touched) if (owns(id)) gradient.fill(0, (id - firstRow) * D, (id - firstRow + 1) * D);
      for (const [id, sum] of this.sums) if (owns(id)) gradient.set(sum, (id - firstRow) * D);
    }
    this.touched = [...this.sums.keys()];
    this.clear();
    engine.spend("reduction", started);
  }
}
