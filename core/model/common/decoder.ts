import { bytesOf, GraphBuilder, type Bytes, type Value } from "../../graph/graph.js";
import { encode } from "../../graph/lower.js";
import type { Graph, Tensor } from "../../graph/tensor.js";
import { cachedWidth } from "../../graph/ops.js";
import type { CacheForm, ParameterSet, ParameterSpec, WeightSpec } from "../family.js";
import { Weights } from "./weights.js";

/** The frame of a decoder, the same in all families that rotate queries and keys: inputs, caches, attention, and what follows the blocks. */

/** B sequences of S new tokens each after P old ones, K = P + S, T = B·S; names that transformers.js expects. */
const [B, S, P, K] = ["batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"] as const;

/** From q [T,H·W], k and v [T,G·W] before rotation to what the heads have gathered [T,H·W]. */
export type Attention = (q_TD: Value, k_TG: Value, v_TG: Value) => Value;

/** What a family adds to the frame. H heads of width W, which share G heads of keys and values; D the model's width. */
export interface DecoderParts {
  /** of the graph */
  readonly name: string;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  /** [positions, pairs] */
  readonly tables: { readonly cos: Tensor; readonly sin: Tensor };
  /** Turns x[T,heads·W] by the tables' rows of each token. */
  rotate(g: GraphBuilder, x: Value, cos: Value, sin: Value, heads: number): Value;
  /** A block, x[T,D] → y[T,D]. */
  block(g: GraphBuilder, x_TD: Value, weights: Weights, attention: Attention): Value;
  /** The norm before the head. */
  norm(g: GraphBuilder, x_MD: Value, weights: Weights): Value;
}

/** See `ModelFamily.decoder`; the caches are past_key_values.<layer>.key|value[B,G,P,W], and present.<layer>.key|value[B,G,K,W]. */
export function decoderGraph(
  parts: DecoderParts,
  parameters: ParameterSet,
  bytes: (parameter: WeightSpec) => Bytes | null,
  form: CacheForm = "longer",
): Graph {
  const { heads: H, headWidth: W } = parts;
  const g = new GraphBuilder();
  const ids_BS = g.input("input_ids", "int64", B, S);
  const caches = form === "longer" ? longerCaches(g, parts, ids_BS) : heldCaches(g, parts, ids_BS);
  const positions_T = g.reshape(g.input("position_ids", "int64", B, S), "T");
  const keep = form === "longer" ? g.input("num_logits_to_keep", "int64") : g.index(1);
  const [cos_TR, sin_TR] = (["cos", "sin"] as const).map((name) =>
    g.gather(g.initializer(`rotary.${name}`, "float32", parts.tables[name].shape, bytesOf(parts.tables[name])), positions_T),
  ) as [Value, Value];
  const declared = new Map<string, Value>();
  const weight = ({ name, shape, frozen = "float32" }: ParameterSpec): Value => {
    const known = declared.get(name);
    if (known !== undefined) return known;
    const where = bytes({ name, shape });
    const value = where === null ? g.input(name, frozen, ...shape) : g.initializer(name, frozen, shape, where);
    declared.set(name, value);
    return value;
  };
  const rotate = (x: Value, heads: number): Value => parts.rotate(g, x, cos_TR, sin_TR, heads);
  const attentionOf =
    (layer: number): Attention =>
    (q_TD, k_TG, v_TG) =>
      g.reshape(caches.attend(layer, rotate, q_TD, k_TG, v_TG), "T", H * W);

  const words_TD = g.gather(weight(parameters.embedding), g.reshape(ids_BS, "T"));
  let x_TD = words_TD.type === "float32" ? words_TD : g.cast(words_TD);
  for (const [layer, specs] of parameters.blocks.entries()) x_TD = parts.block(g, x_TD, new Weights(g, specs, weight), attentionOf(layer));
  const norm = new Weights(g, parameters.norm, weight);
  const head = new Weights(g, parameters.head, weight);
  const h_MD = parts.norm(g, g.lastRows(x_TD, ids_BS, keep, "M"), norm);
  const [headWeight, headBias] = parameters.head.map(({ input }) => head.get(input));
  const logits_MV = headBias === undefined ? g.matMul(h_MD, headWeight!, { transB: true }) : g.linear(h_MD, headWeight!, headBias);
  return encode(g.program(parts.name, { logits: g.groupRows(logits_MV, ids_BS, "num_logits"), ...caches.presents }));
}

/** A decoder's caches, and the attention that fills them. */
interface Caches {
  /** From q [T,H·W], k and v [T,G·W] before rotation to what the heads have gathered, [T,H·W] but for its shape. */
  attend(layer: number, rotate: Rotate, q_TD: Value, k_TG: Value, v_TG: Value): Value;
  readonly presents: Readonly<Record<string, Value>>;
}

/** Turns x[T,heads·W] by the tokens' positions. */
type Rotate = (x: Value, heads: number) => Value;

type Heads = Pick<DecoderParts, "heads" | "keyValueHeads" | "headWidth">;

function longerCaches(g: GraphBuilder, { heads: H, keyValueHeads: G, headWidth: W }: Heads, ids_BS: Value): Caches {
  const mask_BK = g.input("attention_mask", "int64", B, K);
  const presents: Record<string, Value> = {};
  const cached = (layer: number, kind: "key" | "value", new_BGSW: Value): Value => {
    const past_BGPW = g.input(`past_key_values.${layer}.${kind}`, "float32", B, G, P, W);
    const all_BGKW = (presents[`present.${layer}.${kind}`] = g.concat([past_BGPW, new_BGSW], 2, K));
    return G === H ? all_BGKW : g.repeatHeads(all_BGKW, H / G);
  };
  return {
    presents,
    attend(layer, rotate, q_TD, k_TG, v_TG) {
      const q_BHSW = g.splitHeads(rotate(q_TD, H), ids_BS, H);
      const k_BGSW = g.splitHeads(rotate(k_TG, G), ids_BS, G);
      const v_BGSW = g.splitHeads(v_TG, ids_BS, G);
      const k_BHKW = cached(layer, "key", k_BGSW);
      const v_BHKW = cached(layer, "value", v_BGSW);
      const scores_BHSK = g.maskScores(g.matMul(q_BHSW, k_BHKW, { transB: true, alpha: 1 / Math.sqrt(W) }), mask_BK);
      return g.transpose(g.matMul(g.softmax(scores_BHSK), v_BHKW), 0, 2, 1, 3);
    },
  };
}

/** Caches that are written in place; a family that attends in its own way may use them alone. `name` is that of a layer's key or value cache. */
export function heldCaches(
  g: GraphBuilder,
  { heads: H, keyValueHeads: G, headWidth: W }: Heads,
  ids_BS: Value,
  name = (layer: number, kind: "key" | "value"): string => `${layer}.${kind}`,
): Caches {
  const [batch, sequence] = ids_BS.shape;
  const ends = [g.input("last", "int32", batch!), g.input("longest", "int32", 1)];
  const presents: Record<string, Value> = {};
  return {
    presents,
    attend(layer, rotate, q_TD, k_TG, v_TG) {
      const pasts = KINDS.map((kind) => g.input(`past_key_values.${name(layer, kind)}`, "float32", batch!, G, "room", cachedWidth(W)));
      const qkv = [rotate(q_TD, H), rotate(k_TG, G), v_TG].map((x) => g.groupRows(x, ids_BS, sequence!));
      const [gathered, ...filled] = g.cachedAttend([...qkv, ...pasts, ...ends], { heads: H, sharedHeads: G, alpha: 1 / Math.sqrt(W) });
      KINDS.forEach((kind, at) => (presents[`present.${name(layer, kind)}`] = filled[at]!));
      return gathered!;
    },
  };
}

const KINDS = ["key", "value"] as const;
