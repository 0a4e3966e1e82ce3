import { inferShapes, type OpName, type Ops } from "./ops.js";
import { int64s, type Dimension, type ElementType, type Shape, type Tensor } from "./tensor.js";

/** Where the bytes of an initializer lie: in the graph, or in a file beside the model. */
export type Bytes = Uint8Array | { readonly location: string; readonly offset: number; readonly length: number };

/** A tensor in a graph being built: an input, an initializer, or what a node gives. */
export interface Value {
  readonly type: ElementType;
  readonly shape: Shape;
  /** of inputs and initializers; a node's outputs are named when the graph is written */
  readonly name: string | null;
  /** of initializers */
  readonly bytes: Bytes | null;
}

/** An operator applied in a graph being built. */
export interface Node<K extends OpName = OpName> {
  readonly op: K;
  readonly attributes: Ops[K];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** A finished graph before it becomes ONNX: only what its outputs need, in an order that runs. */
export interface Program {
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly initializers: readonly Value[];
  readonly nodes: readonly Node[];
  readonly outputs: ReadonlyMap<string, Value>;
}

/** Builds a graph, operator by operator; shapes are inferred and checked as it goes. */
export class GraphBuilder {
  /** in the order in which they were made, so producers come before consumers */
  readonly nodes: Node[] = [];
  private readonly named: Value[] = [];
  private readonly scalars = new Map<string, Value>();

  input(name: string, type: ElementType, ...shape: Dimension[]): Value {
    return this.declare({ type, shape, name, bytes: null });
  }

  /** A named tensor that is part of the model. */
  initializer(name: string, type: ElementType, shape: readonly number[], bytes: Bytes): Value {
    return this.declare({ type, shape, name, bytes });
  }

  /** A float32 scalar. */
  constant = (value: number): Value => this.scalar({ type: "float32", shape: [], data: Float32Array.of(value) });
  /** An int64 scalar, which picks one row of a table. */
  index = (value: number): Value => this.scalar(int64s([value]));

  /** Adds a node and gives its outputs, all of the first input's type, or cast to float32. */
  apply<K extends OpName>(op: K, inputs: readonly Value[], attributes: Ops[K]): readonly Value[] {
    const outputs = inferShapes[op](attributes, ...inputs).map((shape): Value => ({
      type: op === "Cast" ? "float32" : inputs[0]!.type,
      shape,
      name: null,
      bytes: null,
    }));
    this.nodes.push({ op, attributes, inputs, outputs });
    return outputs;
  }

  add = (a: Value, b: Value): Value => this.apply("Add", [a, b], {})[0]!;
  sub = (a: Value, b: Value): Value => this.apply("Sub", [a, b], {})[0]!;
  mul = (a: Value, b: Value): Value => this.apply("Mul", [a, b], {})[0]!;
  div = (a: Value, b: Value): Value => this.apply("Div", [a, b], {})[0]!;
  neg = (x: Value): Value => this.apply("Neg", [x], {})[0]!;
  sigmoid = (x: Value): Value => this.apply("Sigmoid", [x], {})[0]!;
  exp = (x: Value): Value => this.apply("Exp", [x], {})[0]!;
  erf = (x: Value): Value => this.apply("Erf", [x], {})[0]!;
  cast = (x: Value): Value => this.apply("Cast", [x], {})[0]!;
  gelu = (x: Value): Value => this.apply("Gelu", [x], {})[0]!;
  erfGelu = (x: Value): Value => this.apply("ErfGelu", [x], {})[0]!;
  softmax = (x: Value): Value => this.apply("Softmax", [x], {})[0]!;
  sum = (x: Value, axes: readonly number[], keep: boolean): Value => this.apply("ReduceSum", [x], { axes, keep })[0]!;
  max = (x: Value, axes: readonly number[], keep: boolean): Value => this.apply("ReduceMax", [x], { axes, keep })[0]!;
  matMul = (a: Value, b: Value, { transA = false, transB = false, alpha = 1 }: Partial<Ops["MatMul"]> = {}): Value =>
    this.apply("MatMul", [a, b], { transA, transB, alpha })[0]!;
  linear = (x: Value, weight: Value, bias: Value): Value => this.apply("Linear", [x, weight, bias], {})[0]!;
  layerNorm = (x: Value, weight: Value, bias: Value, epsilon: number): Value => this.apply("LayerNorm", [x, weight, bias], { epsilon })[0]!;
  rmsNorm = (x: Value, weight: Value, epsilon: number): Value => this.apply("RmsNorm", [x, weight], { epsilon })[0]!;
  rotary = (x: Value, cos: Value, sin: Value, heads: number, rotaryDim: number, halves = false): Value =>
    this.apply("Rotary", [x, cos, sin], { heads, rotaryDim, halves })[0]!;
  attend = (q: Value, k: Value, v: Value, mask: Value, alpha: number): Value => this.apply("Attend", [q, k, v, mask], { alpha })[0]!;
  reshape = (x: Value, ...shape: Dimension[]): Value => this.apply("Reshape", [x], { shape })[0]!;
  transpose = (x: Value, ...order: number[]): Value => this.apply("Transpose", [x], { order })[0]!;
  /** `size` names the joined axis's size. */
  concat = (values: readonly Value[], axis: number, size: Dimension): Value => this.apply("Concat", values, { axis, size })[0]!;
  gather = (table: Value, indices: Value): Value => this.apply("Gather", [table, indices], {})[0]!;
  splitHeads = (x: Value, ids: Value, heads: number): Value =>
    this.apply("SplitHeads", [x, ids], { heads, batch: ids.shape[0]!, sequence: ids.shape[1]! })[0]!;
  repeatHeads = (x: Value, times: number): Value => this.apply("RepeatHeads", [x], { times })[0]!;
  maskScores = (scores: Value, mask: Value): Value => this.apply("MaskScores", [scores, mask], {})[0]!;
  /** `last` and `longest` are int32; gives what was gathered and the two caches. */
  cachedAttend = (inputs: readonly Value[], attributes: Ops["CachedAttend"]): readonly Value[] =>
    this.apply("CachedAttend", inputs, attributes);
  lastRows = (x: Value, ids: Value, keep: Value, rows: Dimension): Value => this.apply("LastRows", [x, ids, keep], { rows })[0]!;
  groupRows = (x: Value, ids: Value, sequence: Dimension): Value =>
    this.apply("GroupRows", [x, ids], { batch: ids.shape[0]!, sequence })[0]!;

  /** The graph of these outputs: what they don't need is left out, inputs too. */
  program(name: string, outputs: Readonly<Record<string, Value>>): Program {
    const needed = new Set(Object.values(outputs));
    const nodes = this.nodes.toReversed().filter((node) => {
      if (!node.outputs.some((value) => needed.has(value))) return false;
      for (const value of node.inputs) needed.add(value);
      return true;
    });
    const used = this.named.filter((value) => needed.has(value));
    return {
      name,
      inputs: used.filter((value) => value.bytes === null),
      initializers: used.filter((value) => value.bytes !== null),
      nodes: nodes.reverse(),
      outputs: new Map(Object.entries(outputs)),
    };
  }

  /** A scalar that is part of the graph, made once. */
  private scalar(tensor: Tensor): Value {
    const key = `${tensor.type} ${tensor.data[0]}`;
    const known = this.scalars.get(key);
    if (known !== undefined) return known;
    const made = this.initializer(`constant.${this.scalars.size}`, tensor.type, tensor.shape, bytesOf(tensor));
    this.scalars.set(key, made);
    return made;
  }

  private declare(value: Value): Value {
    this.named.push(value);
    return value;
  }
}

/** A tensor's bytes as ONNX stores them, little-endian; a view, not a copy. */
export function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
