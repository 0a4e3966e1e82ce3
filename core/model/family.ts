import type { Bytes, Program } from "../graph/graph.js";
import { elements, type FloatType, type Graph, type Tensor } from "../graph/tensor.js";
import type { ModelShape } from "./shape.js";

/**
 * One architecture, as the rest of the house knows it. Everything else that is said of it lies in its folder.
 * T tokens of all rows end to end, S tokens of one row, N positions that carry loss, V words of a slice of the vocabulary,
 * D the model's width.
 */
export interface ModelFamily<S extends ModelShape = ModelShape> {
  /** config.json's `model_type` */
  readonly type: string;
  /** what people call it, on cards */
  readonly name: string;
  /** the class by which transformers reads its tokenizers, unless a model's files name another one; null: tokenizer.json as it is */
  readonly tokenizerClass: string | null;
  /** Reads a config.json; throws UserError that names the field. `where` is the file's name. */
  parse(json: unknown, where: string): S;
  /** The parameters of a model of this shape, each once. */
  parameters(shape: S): ParameterSet;
  /** Where a parameter lies in a model's files. */
  source(shape: S, parameter: ParameterSpec): TensorSource;
  /** Whether a tensor of the files is a buffer that old checkpoints carry beside the weights. */
  isBuffer(tensor: string): boolean;
  /** The graphs that train a model of this shape; `parameters` are those of `parameters(shape)`, perhaps frozen and with adapters. */
  training(shape: S, parameters: ParameterSet): TrainingProgram;
  /**
   * The whole model with a key-value cache, as transformers.js runs it: input_ids[B,S], attention_mask[B,K],
   * position_ids[B,S], num_logits_to_keep (0: all), all int64, and one input `past_key_values.<rest>` for each cache, empty
   * at first, → logits[B,N,V] of the last N tokens, and for each cache `present.<rest>`. `bytes` says where a parameter lies;
   * null makes it an input of its own name. With `form` "held" it takes, instead of mask and number of logits, last[B] and longest[1],
   * both int32 (see the operator CachedAttend), gives the logits of the last token, and each `present.<rest>` is to be the memory of
   * `past_key_values.<rest>`, which has room for more tokens than there are.
   */
  decoder(shape: S, parameters: ParameterSet, bytes: (parameter: WeightSpec) => Bytes | null, form?: CacheForm): Graph;
  /** config.json of a made-up model of this size, which `parse` reads. */
  configJson(size: ModelSize): Record<string, unknown>;
}

/** How a decoder's caches grow: a longer one leaves each run, or they are held in memory that has room. */
export type CacheForm = "longer" | "held";

/** The size of a made-up model. */
export interface ModelSize extends Omit<ModelShape, "type" | "eosTokenIds"> {
  readonly eosTokenId: number;
  /** the entries of each head that are rotated */
  readonly rotary: number;
}

/** A tensor by its name, with its sizes. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A parameter by its canonical name; matrices are [out, in], as torch stores them. */
export interface ParameterSpec extends WeightSpec {
  /** its name in the graphs, where its gradient is `d.<input>` */
  readonly input: string;
  /** what else its layer is called, such as a head whose matrix is the embedding */
  readonly layerNames?: readonly string[];
  /** how a fresh model begins: "identity" passes on what it gets, with noise */
  readonly initial: "zero" | "one" | "noise" | "identity";
  /** training leaves it as it is; it lies in memory, and enters graphs, as elements of this type. Absent: it is trained, in fp32 */
  readonly frozen?: FloatType;
  /** of a frozen one: it does not lie in its file as it enters graphs, and is read into memory */
  readonly copied?: true;
  /** of a low-rank adapter's two matrices */
  readonly adapter?: AdapterPart;
}

/** What a graph knows of an adapter: y + scale · (drop ∘ x) @ Aᵀ @ Bᵀ. */
export interface AdapterPart {
  readonly scale: number;
  /** whether the graph takes `drop.<module>` [T,in], what x is multiplied with */
  readonly dropout: boolean;
}

/** A model's parameters by what the engine does with them. */
export interface ParameterSet {
  /** [vocabulary, D] the table of word vectors */
  readonly embedding: ParameterSpec;
  /** of each layer, in the same order with the same inputs and shapes */
  readonly blocks: readonly (readonly ParameterSpec[])[];
  /** of the norm before the head */
  readonly norm: readonly ParameterSpec[];
  /** of the head; the matrix first, which may be the embedding under its name, and every one has a row for each word: [vocabulary, …] */
  readonly head: readonly ParameterSpec[];
}

/** Where a parameter lies in a model's files. */
export interface TensorSource {
  /** the tensor's name and shape in the files */
  readonly tensor: string;
  readonly shape: readonly number[];
  /** whether the matrix lies there as [in, out] */
  readonly transposed?: boolean;
  /** which row of the tensor, once it is [out, in], is row `row` of the parameter; absent: the same */
  readonly row?: (row: number) => number;
}

/**
 * A graph of a block, and what it runs over: all T tokens; the S tokens of one row after the other; or a few tokens at a
 * time, so that they stay in the cache. It takes and gives by name: parameters and `d.<input>` of them whole; `x` and `y`,
 * the block's input and output, `dy` and `dx`, their gradients, the program's tables, and everything else, which is a value
 * [tokens, width] that a segment before has given. A graph over a row may take `causal`[S,S]: 0 where a query may look, hugely
 * negative elsewhere. Parameters that are trained get their gradients from graphs over all tokens.
 */
export interface Segment {
  readonly over: "tokens" | "row" | "chunk";
  readonly program: Program;
}

/** The graphs that train a model, each with a name of its own; parameters are inputs, so a block's graphs serve every layer. */
export interface TrainingProgram {
  /** [positions, …] float32: graphs take the row of each token's position */
  readonly tables: Readonly<Record<string, Tensor>>;
  /** in the order in which they run; `forward` outputs that `backward` takes are kept, or computed again */
  readonly block: { readonly forward: readonly Segment[]; readonly backward: readonly Segment[] };
  readonly norm: {
    /** x[N,D], parameters → h[N,D] */
    readonly forward: Program;
    /** x[N,D], dh[N,D], parameters → dx[N,D], d.<input> */
    readonly backward: Program;
  };
  readonly head: {
    /** h[N,D], parameters' rows [V,…] → logits[N,V], their softmax over the slice shares[N,V], max[N], sumexp[N], the sum of exp(logit - max) */
    readonly forward: Program;
    /** slope[N,V], factor[N,1], parameters' rows [V,…] → dh[N,D], where factor · slope is the gradient at the logits */
    readonly backward: Program;
    /** slope[N,V], factor[N,1], h[N,D] → d.<input>[V,…]; null: the head is frozen */
    readonly weightBackward: Program | null;
  };
}

/** The low-rank adapter of one linear layer [out, in]. */
export interface AdapterModule {
  /** transformers' name of the layer, such as `layers.0.attention.query` */
  readonly module: string;
  readonly rank: number;
  readonly alpha: number;
  /** what its product is multiplied by: alpha / rank, or alpha / √rank */
  readonly scale: number;
}

/** A model as its config.json tells it: its family, shape and parameters. */
export interface Model {
  readonly family: ModelFamily;
  readonly shape: ModelShape;
  readonly parameters: ParameterSet;
  /** of a base that is frozen: what is trained beside it, in the order of the layers; absent: the parameters themselves are trained */
  readonly adapters?: readonly AdapterModule[];
  /** config.json as it was read */
  readonly configJson: Readonly<Record<string, unknown>>;
}

/** Every parameter once, from the embedding to the head: the order of tensors in sums, norms and layouts. */
export function allParameters({ embedding, blocks, norm, head }: ParameterSet): ParameterSpec[] {
  return [embedding, ...blocks.flat(), ...norm, ...head.filter(({ name }) => name !== embedding.name)];
}

/** Whether a parameter is trained. */
export function isTrained({ frozen }: ParameterSpec): boolean {
  return frozen === undefined;
}

/** Whether a parameter is used where it lies in its file. */
export function isMapped({ frozen, copied }: ParameterSpec): boolean {
  return frozen !== undefined && copied !== true;
}

/** Those that are trained, in the same order. */
export function trainedParameters(parameters: ParameterSet): ParameterSpec[] {
  return allParameters(parameters).filter(isTrained);
}

/** Whether the head's matrix is the table of word vectors. */
export function isTied({ embedding, head }: ParameterSet): boolean {
  return head[0]!.name === embedding.name;
}

/** The number of a model's parameters, element by element. */
export function parameterCount({ parameters }: Pick<Model, "parameters">): number {
  return countOf(allParameters(parameters));
}

/** The number of elements of some parameters. */
export function countOf(specs: readonly WeightSpec[]): number {
  return specs.reduce((sum, { shape }) => sum + elements(shape), 0);
}
