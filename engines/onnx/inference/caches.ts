import { elements, floats, type Tensor, type TensorInfo } from "../../../core/graph/tensor.js";

/** Keys and values of several sequences, [B,G,M,W] for each layer, in memory that decoders write in place: B slots, room for M tokens in each. */

/** What the names of a decoder's caches begin with, as it takes and as it gives them. */
const [PAST, PRESENT] = ["past_key_values.", "present."] as const;

/** Bytes of the caches of one sequence of so many tokens; `inputs` are a decoder's. */
export function cacheBytes(inputs: readonly TensorInfo[], tokens: number): number {
  return cachesIn(inputs).reduce((sum, info) => sum + 4 * elements(shapeOf(info, 1, tokens)), 0);
}

/** Room for the tokens of `slots` sequences; what is not used yet takes no memory. */
export class Caches {
  /** of each slot, in tokens */
  room = 0;
  private readonly infos: readonly TensorInfo[];
  private readonly slots: number;
  private readonly limit: number;
  private buffers: Float32Array[];

  /** `inputs` are a decoder's; no slot ever has more than `limit` tokens. */
  constructor(inputs: readonly TensorInfo[], slots: number, limit: number) {
    this.infos = cachesIn(inputs);
    this.slots = slots;
    this.limit = limit;
    this.buffers = this.infos.map(() => new Float32Array(0));
  }

  /** Makes room for `tokens` in every slot; keeps what slots hold, `lengths` tokens each. One layer at a time is in memory twice. */
  reserve(tokens: number, lengths: readonly number[]): void {
    if (tokens <= this.room) return;
    const room = Math.min(this.limit, tokens);
    for (const [index, info] of this.infos.entries()) {
      const [, heads, , width] = shapeOf(info, 1, 1) as [number, number, number, number];
      const old = this.buffers[index]!;
      const grown = new Float32Array(this.slots * heads * room * width);
      for (const [slot, length] of lengths.entries())
        for (let head = slot * heads; head < (slot + 1) * heads; head++) {
          const from = head * this.room * width;
          grown.set(old.subarray(from, from + length * width), head * room * width);
        }
      this.buffers[index] = grown;
    }
    this.room = room;
  }

  /** Puts the sequence of one slot into another. */
  move(from: number, to: number): void {
    for (const [index, info] of this.infos.entries()) {
      const size = elements(shapeOf(info, 1, this.room));
      this.buffers[index]!.copyWithin(to * size, from * size, (from + 1) * size);
    }
  }

  /** Slots [first, first + count) as a decoder takes them, and as it is to write them: the same memory. */
  slice(first: number, count: number): { readonly past: Record<string, Tensor>; readonly present: Record<string, Tensor> } {
    const tensors = this.infos.map((info, index) => {
      const size = elements(shapeOf(info, 1, this.room));
      const data = this.buffers[index]!.subarray(first * size, (first + count) * size);
      return [info.name.slice(PAST.length), floats(data, ...shapeOf(info, count, this.room))] as const;
    });
    const named = (prefix: string): Record<string, Tensor> => Object.fromEntries(tensors.map(([rest, tensor]) => [prefix + rest, tensor]));
    return { past: named(PAST), present: named(PRESENT) };
  }
}

/** The caches among a decoder's inputs. */
function cachesIn(inputs: readonly TensorInfo[]): readonly TensorInfo[] {
  return inputs.filter(({ name }) => name.startsWith(PAST));
}

/** A cache's sizes: of its open ones the first is the number of slots, the other one the room. */
function shapeOf({ shape }: TensorInfo, slots: number, room: number): number[] {
  return shape.map((size, axis) => (typeof size === "number" ? size : axis === 0 ? slots : room));
}
