import type { ComputeEvent, Directive, RankInput } from "../../../engines/engine.js";

/** The lines between a rank and its compute process. */

export type ToChild<Setup> =
  | { readonly kind: "begin"; readonly rank: RankInput<Setup> }
  | { readonly kind: "release"; readonly barrier: number; readonly directive: Directive };

type Shard = Extract<ComputeEvent, { kind: "shard" }>;
/** An event as JSON: tensors are base64. */
export type FromChild =
  | Exclude<ComputeEvent, Shard>
  | (Omit<Shard, "tensors"> & {
      readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly data: string }[];
    });

export function encode(event: ComputeEvent): FromChild {
  if (event.kind !== "shard") return event;
  const tensors = event.tensors.map(({ name, shape, data }) => ({ name, shape, data: Buffer.from(data.buffer).toString("base64") }));
  return { ...event, tensors };
}

export function decode(event: FromChild): ComputeEvent {
  if (event.kind !== "shard") return event;
  const tensors = event.tensors.map(({ name, shape, data }) => ({
    name,
    shape,
    data: new Float32Array(new Uint8Array(Buffer.from(data, "base64")).buffer),
  }));
  return { ...event, tensors };
}
