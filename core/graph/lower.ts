import { bytesOf, type Node, type Program, type Value } from "./graph.js";
import { cachedWidth, type OpName } from "./ops.js";
import { encodeModel, type Attribute, type OnnxInitializer, type OnnxNode } from "./proto.js";
import { floats, int64s, type Graph, type Tensor, type TensorInfo } from "./tensor.js";

/** Gathers the ONNX nodes that one graph becomes. */
class Lowering {
  readonly nodes: OnnxNode[] = [];
  readonly constants = new Map<string, OnnxInitializer>();
  private count = 0;

  name(): string {
    return `t${this.count++}`;
  }

  /** Adds a node that gives one fresh tensor; its name. */
  emit(type: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, domain = ""): string {
    const output = this.name();
    this.into([output], type, inputs, attributes, domain);
    return output;
  }

  into(outputs: readonly string[], type: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, domain = ""): void {
    this.nodes.push({ type, domain, inputs, outputs, attributes });
  }

  /** The name of a constant tensor, made once. */
  constant(tensor: Tensor): string {
    const key = `const.${tensor.type}.${tensor.shape.join("x")}.${tensor.data.join("_")}`;
    if (!this.constants.has(key)) this.constants.set(key, { name: key, type: tensor.type, shape: tensor.shape, bytes: bytesOf(tensor) });
    return key;
  }

  reshape(x: string, shape: readonly (number | string)[]): string {
    return this.emit("Reshape", [x, this.reshapeTarget(shape)]);
  }

  /** Reshape's second input: the one symbolic size is what is left over. */
  reshapeTarget(shape: readonly (number | string)[]): string {
    if (shape.filter((size) => typeof size === "string").length > 1)
      throw new Error(`a reshape can leave one size open [shape=${shape.join(",")}]`);
    return this.constant(
      int64s(
        shape.map((size) => (typeof size === "string" ? -1 : size)),
        shape.length,
      ),
    );
  }
}

/** `x` and `y` are the names of the node's inputs and outputs. */
type Lower<K extends OpName> = (to: Lowering, node: Node<K>, x: readonly string[], y: readonly string[]) => void;

const plain =
  (type: string, attributes: Record<string, Attribute> = {}): Lower<OpName> =>
  (to, _, x, y) =>
    to.into(y, type, x, attributes);
const MICROSOFT = "com.microsoft";
const flag = (on: boolean): Attribute => ({ int: on ? 1 : 0 });

const lowerings: { readonly [K in OpName]: Lower<K> } = {
  Add: plain("Add"),
  Sub: plain("Sub"),
  Mul: plain("Mul"),
  Div: plain("Div"),
  Neg: plain("Neg"),
  Sigmoid: plain("Sigmoid"),
  Exp: plain("Exp"),
  Erf: plain("Erf"),
  Cast: plain("Cast", { to: { int: 1 } }),
  Gelu: plain("Gelu", { approximate: { string: "tanh" } }),
  ErfGelu: plain("Gelu", { approximate: { string: "none" } }),
  Softmax: plain("Softmax", { axis: { int: -1 } }),
  ReduceSum: (to, { attributes: { axes, keep } }, [x], y) =>
    to.into(y, "ReduceSum", [x!, to.constant(int64s(axes, axes.length))], { keepdims: flag(keep) }),
  ReduceMax: (to, { attributes: { axes, keep } }, [x], y) =>
    to.into(y, "ReduceMax", [x!, to.constant(int64s(axes, axes.length))], { keepdims: flag(keep) }),
  // FusedMatMul reads a transposed operand as it lies: an explicit Transpose would copy it
  MatMul: (to, { attributes: { transA, transB, alpha } }, x, y) =>
    to.into(y, "FusedMatMul", x, { transA: flag(transA), transB: flag(transB), alpha: { float: alpha } }, MICROSOFT),
  Linear: plain("Gemm", { transB: { int: 1 } }),
  LayerNorm: (to, { attributes: { epsilon } }, x, y) =>
    to.into(y, "LayerNormalization", x, { axis: { int: -1 }, epsilon: { float: epsilon } }),
  // onnxruntime's own of ONNX's domain, where an RMSNormalization came with opset 23
  RmsNorm: (to, { attributes: { epsilon } }, x, y) =>
    to.into(y, "SimplifiedLayerNormalization", x, { axis: { int: -1 }, epsilon: { float: epsilon }, stash_type: { int: 1 } }),
  Rotary: (to, { inputs: [x], attributes: { heads, rotaryDim, halves } }, [name, cos, sin], [y]) => {
    const width = x!.shape[1] as number;
    // the tables hold one line for each token, so the tokens are one sequence that starts at line 0
    const sequence = to.reshape(name!, [1, "T", width]);
    const attributes = { interleaved: flag(!halves), num_heads: { int: heads }, rotary_embedding_dim: { int: rotaryDim } };
    const turned = to.emit("RotaryEmbedding", [sequence, to.constant(int64s([0], 1)), cos!, sin!], attributes, MICROSOFT);
    to.into([y!], "Reshape", [turned, to.reshapeTarget(["T", width])]);
  },
  Attend: (to, { attributes: { alpha } }, [q, k, v, mask], [y, shares]) => {
    const scores = to.emit("FusedMatMul", [q!, k!], { transB: flag(true), alpha: { float: alpha } }, MICROSOFT);
    const weights = shares ?? to.name();
    to.into([weights], "Softmax", [to.emit("Add", [scores, mask!])], { axis: { int: -1 } });
    // the gradient needs the shares alone
    if (y !== "") to.into([y!], "MatMul", [weights, v!]);
  },
  Reshape: (to, { attributes: { shape } }, [x], y) => to.into(y, "Reshape", [x!, to.reshapeTarget(shape)]),
  Transpose: (to, { attributes: { order } }, x, y) => to.into(y, "Transpose", x, { perm: { ints: order } }),
  Concat: (to, { attributes: { axis } }, x, y) => to.into(y, "Concat", x, { axis: { int: axis } }),
  Gather: plain("Gather", { axis: { int: 0 } }),
  SplitHeads: (to, { inputs: [x], attributes: { heads } }, [name, ids], [y]) => {
    const width = (x!.shape[1] as number) / heads;
    const shape = to.emit("Concat", [to.emit("Shape", [ids!]), to.constant(int64s([heads, width], 2))], { axis: { int: 0 } });
    to.into([y!], "Transpose", [to.emit("Reshape", [name!, shape])], { perm: { ints: [0, 2, 1, 3] } });
  },
  RepeatHeads: (to, { inputs: [x], attributes: { times } }, [name], [y]) => {
    const [, heads, , width] = x!.shape as readonly [unknown, number, unknown, number];
    const apart = to.emit("Unsqueeze", [name!, to.constant(int64s([2], 1))]);
    const repeated = to.emit("Expand", [apart, to.constant(int64s([1, 1, times, 1, 1], 5))]);
    // 0: as it is
    to.into([y!], "Reshape", [repeated, to.constant(int64s([0, heads * times, -1, width], 4))]);
  },
  MaskScores: (to, _, [scores, mask], [y]) => {
    const one = to.constant(floats(Float32Array.of(1)));
    const size = (axis: number): string => to.emit("Shape", [scores!], { start: { int: axis }, end: { int: axis + 1 } });
    const [queries, keys] = [size(2), size(3)];
    const all = to.emit("Expand", [one, to.emit("Concat", [queries, keys], { axis: { int: 0 } })]);
    const past = to.reshape(to.emit("Sub", [keys, queries]), []);
    const causal = to.emit("Trilu", [all, past], { upper: flag(false) });
    const known = to.emit("Cast", [to.emit("Unsqueeze", [mask!, to.constant(int64s([1, 2], 2))])], { to: { int: 1 } });
    const seen = to.emit("Mul", [causal, known]);
    const bias = to.emit("Mul", [to.emit("Sub", [seen, one]), to.constant(floats(Float32Array.of(1e30)))]);
    to.into([y!], "Add", [scores!, bias]);
  },
  CachedAttend: (to, { inputs: [q], attributes: { heads, sharedHeads, alpha } }, [query, key, value, ...caches], [y, keys, values]) => {
    const width = (q!.shape[2] as number) / heads;
    const wide = cachedWidth(width);
    // 0: as it is
    const widened = (name: string, count: number): string => {
      if (wide === width) return name;
      const apart = to.emit("Reshape", [name, to.constant(int64s([0, 0, count, width], 4))]);
      const padded = to.emit("Pad", [apart, to.constant(int64s([0, 0, 0, 0, 0, 0, 0, wide - width], 8))]);
      return to.emit("Reshape", [padded, to.constant(int64s([0, 0, count * wide], 3))]);
    };
    const inputs = [widened(query!, heads), widened(key!, sharedHeads), widened(value!, sharedHeads), ...caches];
    const gathered = wide === width ? y! : to.name();
    const attributes = { num_heads: { int: heads }, kv_num_heads: { int: sharedHeads }, scale: { float: alpha } };
    // it writes its caches whether they are wanted or not
    const presents = [keys, values].map((name) => name || to.name());
    to.into([gathered, ...presents], "GroupQueryAttention", inputs, attributes, MICROSOFT);
    if (wide === width) return;
    const apart = to.emit("Reshape", [gathered, to.constant(int64s([0, 0, heads, wide], 4))]);
    const ends = [to.constant(int64s([0], 1)), to.constant(int64s([width], 1)), to.constant(int64s([3], 1))];
    to.into([y!], "Reshape", [to.emit("Slice", [apart, ...ends]), to.constant(int64s([0, 0, heads * width], 3))]);
  },
  LastRows: (to, { inputs: [x] }, [name, ids, keep], [y]) => {
    const width = x!.shape[1] as number;
    const shape = to.emit("Concat", [to.emit("Shape", [ids!]), to.constant(int64s([width], 1))], { axis: { int: 0 } });
    const first = to.reshape(to.emit("Neg", [keep!]), [1]);
    const slice = to.emit("Slice", [
      to.emit("Reshape", [name!, shape]),
      first,
      to.constant(int64s([2 ** 31], 1)),
      to.constant(int64s([1], 1)),
    ]);
    to.into([y!], "Reshape", [slice, to.reshapeTarget(["M", width])]);
  },
  GroupRows: (to, { inputs: [x] }, [name, ids], [y]) => {
    const batch = to.emit("Shape", [ids!], { start: { int: 0 }, end: { int: 1 } });
    const shape = to.emit("Concat", [batch, to.constant(int64s([-1, x!.shape[1] as number], 2))], { axis: { int: 0 } });
    to.into([y!], "Reshape", [name!, shape]);
  },
};

/** The program as an ONNX model. */
export function encode(program: Program): Graph {
  const to = new Lowering();
  const names = new Map<Value, string>();
  for (const value of [...program.inputs, ...program.initializers]) names.set(value, value.name!);
  const used = new Set([...program.nodes.flatMap((node) => node.inputs), ...program.outputs.values()]);
  const produced = new Set(program.nodes.flatMap((node) => node.outputs));
  const copies: [name: string, value: Value][] = [];
  for (const [name, value] of program.outputs) {
    if (produced.has(value) && !names.has(value)) names.set(value, name);
    else copies.push([name, value]);
  }
  for (const node of program.nodes) {
    // ONNX's own norm must have its first output
    const required = node.op === "LayerNorm" || node.op === "RmsNorm" ? node.outputs[0] : undefined;
    for (const value of node.outputs) if (!names.has(value)) names.set(value, value === required || used.has(value) ? to.name() : "");
    lowerNode(to, node, names);
  }
  for (const [name, value] of copies) to.into([name], "Identity", [names.get(value)!]);
  const info = (name: string, { type, shape }: Value): TensorInfo => ({ name, type, shape });
  const initializers = program.initializers.map((value) => ({
    name: value.name!,
    type: value.type,
    shape: value.shape as number[],
    bytes: value.bytes!,
  }));
  return encodeModel({
    name: program.name,
    nodes: to.nodes,
    initializers: [...initializers, ...to.constants.values()],
    inputs: program.inputs.map((value) => info(value.name!, value)),
    outputs: [...program.outputs].map(([name, value]) => info(name, value)),
  });
}

function lowerNode<K extends OpName>(to: Lowering, node: Node<K>, names: ReadonlyMap<Value, string>): void {
  const named = (values: readonly Value[]): string[] => values.map((value) => names.get(value)!);
  lowerings[node.op](to, node, named(node.inputs), trim(named(node.outputs)));
}

/** Unused outputs at the end are left out altogether. */
function trim(names: string[]): string[] {
  return names.slice(0, names.findLastIndex((name) => name !== "") + 1);
}
