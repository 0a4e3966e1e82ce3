import { UserError } from "../../../../core/errors.js";
import { bytesOf, GraphBuilder, type Bytes, type Program, type Value } from "../../../../core/graph/graph.js";
import { encode } from "../../../../core/graph/lower.js";
import { floats, type Graph, type Tensor } from "../../../../core/graph/tensor.js";
import { namedGradients, prefixed } from "../../../../core/model/common/named-gradients.js";
import { heldCaches } from "../../../../core/model/common/decoder.js";
import type {
  CacheForm,
  ModelFamily,
  ParameterSet,
  ParameterSpec,
  TensorSource,
  TrainingProgram,
  WeightSpec,
} from "../../../../core/model/family.js";
import type { ModelShape } from "../../../../core/model/shape.js";

/**
 * A second family, made for tests, as unlike GPT-J as it can be. Attention and MLP follow each other, each on a norm without mean
 * and bias; positions are added to the queries; the head has no bias. Its files have q, k and v in one tensor, head by head
 * with q's and k's rows permuted, and the other matrices as [in, out], one of them upside down.
 * T tokens, S of a row, H heads of W, D = H·W the width, F the MLP's width.
 */

export interface ToyShape extends ModelShape {
  readonly innerWidth: number;
}

export const toy: ModelFamily<ToyShape> = {
  type: "toy",
  name: "Toy",
  tokenizerClass: null,
  parse(json, where) {
    const fields = json as Record<string, number>;
    for (const field of ["layers", "heads", "width", "innerWidth", "vocabulary", "positions"])
      if (!Number.isInteger(fields[field])) throw new UserError(`a toy needs ${field}`, { file: where });
    return { ...(fields as unknown as ToyShape), type: "toy", bosTokenId: 0, eosTokenIds: [0] };
  },
  parameters,
  source,
  isBuffer: (tensor) => /^layers\.\d+\.positions$/.test(tensor),
  training,
  decoder,
  configJson: (size) => ({ ...size, model_type: "toy", innerWidth: 2 * size.width }),
};

function parameters(shape: ToyShape): ParameterSet {
  const { width: D, vocabulary: V } = shape;
  return {
    embedding: { name: "words", input: "table", shape: [V, D], initial: "noise" },
    blocks: Array.from({ length: shape.layers }, (_, layer) =>
      blockSpecs(shape).map((spec) => ({ ...spec, name: `${layer}/${spec.input}` })),
    ),
    norm: [{ name: "norm", input: "scale", shape: [D], initial: "one" }],
    head: [{ name: "head", input: "rows", shape: [V, D], initial: "noise" }],
  };
}

function blockSpecs({ width: D, innerWidth: F }: ToyShape): Omit<ParameterSpec, "name">[] {
  const matrix = (input: string, out: number, width: number) => ({ input, shape: [out, width], initial: "noise" as const });
  return [
    { input: "first", shape: [D], initial: "one" },
    matrix("w.q", D, D),
    matrix("w.k", D, D),
    matrix("w.v", D, D),
    matrix("out", D, D),
    { input: "second", shape: [D], initial: "one" },
    matrix("up", F, D),
    matrix("down", D, F),
  ];
}

function source({ width: D, heads: H }: ToyShape, { name, input, shape }: ParameterSpec): TensorSource {
  const W = D / H;
  const layer = `layers.${name.split("/")[0]}`;
  const kind = ["w.q", "w.k", "w.v"].indexOf(input);
  if (kind >= 0) {
    const permuted = (w: number): number => (kind === 2 ? w : w % 2 === 0 ? w / 2 : (W + w - 1) / 2);
    return { tensor: `${layer}.qkv`, shape: [3 * D, D], row: (row) => (3 * Math.floor(row / W) + kind) * W + permuted(row % W) };
  }
  const turned = shape.toReversed();
  if (input === "out") return { tensor: `${layer}.out`, shape: turned, transposed: true, row: (row) => D - 1 - row };
  if (input === "up" || input === "down") return { tensor: `${layer}.${input}`, shape: turned, transposed: true };
  return { tensor: name.replace(/^(\d+)\//, "layers.$1."), shape };
}

/** x · scale / (1 + mean x²) */
function norm(g: GraphBuilder, x_TD: Value, scale: Value): Value {
  const D = x_TD.shape[1] as number;
  const share = floats(new Float32Array(D).fill(1 / D), D, 1);
  const mean_T1 = g.matMul(g.mul(x_TD, x_TD), g.initializer(`share.${g.nodes.length}`, "float32", share.shape, bytesOf(share)));
  return g.div(g.mul(x_TD, scale), g.add(mean_T1, g.constant(1)));
}

const times = (g: GraphBuilder, x: Value, weight: Value): Value => g.matMul(x, weight, { transB: true });
const swish = (g: GraphBuilder, x: Value): Value => g.mul(x, g.sigmoid(x));

/** [positions, D]: what is added to the queries. */
function slant({ positions, width: D }: ToyShape): Tensor {
  return floats(
    Float32Array.from({ length: positions * D }, (_, at) => Math.sin(Math.floor(at / D) + (at % D))),
    positions,
    D,
  );
}

function training(shape: ToyShape): TrainingProgram {
  const project = projectPrograms(shape);
  const attend = attendPrograms(shape);
  const middle = middlePrograms(shape);
  const last = lastPrograms(shape);
  return {
    tables: { slant: slant(shape) },
    block: {
      forward: [
        { over: "tokens", program: project.forward },
        { over: "row", program: attend.forward },
        { over: "tokens", program: middle.forward },
        { over: "chunk", program: last.activate },
        { over: "tokens", program: last.forward },
      ],
      backward: [
        { over: "tokens", program: last.backward },
        { over: "tokens", program: middle.backward },
        { over: "row", program: attend.backward },
        { over: "tokens", program: project.backward },
      ],
    },
    norm: normPrograms(shape),
    head: headPrograms(shape),
  };
}

type Both = Readonly<Record<"forward" | "backward", Program>>;

/** Inputs of these names, of a block's parameters. */
function inputs(g: GraphBuilder, shape: ToyShape, ...names: string[]): Record<string, Value> {
  const specs = blockSpecs(shape).filter(({ input }) => names.includes(input));
  return Object.fromEntries(specs.map(({ input, shape: sizes }) => [input, g.input(input, "float32", ...sizes)]));
}

function projectPrograms(shape: ToyShape): Both {
  const D = shape.width;
  const g = new GraphBuilder();
  const x_TD = g.input("x", "float32", "T", D);
  const weights = inputs(g, shape, "first", "w.q", "w.k", "w.v");
  const h_TD = norm(g, x_TD, weights["first"]!);
  const values = {
    q: g.add(times(g, h_TD, weights["w.q"]!), g.input("slant", "float32", "T", D)),
    k: times(g, h_TD, weights["w.k"]!),
    v: times(g, h_TD, weights["w.v"]!),
  };
  const forward = g.program("toy.project", values);
  const seeds = Object.entries(values).map(([name, value]) => [value, g.input(`d.${name}`, "float32", "T", D)] as const);
  const { dx, ...rest } = namedGradients(g, seeds, { dx: x_TD, ...prefixed(weights) });
  const passed = g.input("d.middle", "float32", "T", D);
  return { forward, backward: g.program("toy.project.back", { dx: g.add(passed, dx!), ...rest }) };
}

function attendPrograms({ heads: H, width: D }: ToyShape): Both {
  const g = new GraphBuilder();
  const W = D / H;
  const [q, k, v] = ["q", "k", "v"].map((name) => g.input(name, "float32", "S", D)) as [Value, Value, Value];
  const split = (x_SD: Value): Value => g.transpose(g.reshape(x_SD, "S", H, W), 1, 0, 2);
  const y_HSW = g.attend(split(q), split(k), split(v), g.input("causal", "float32", "S", "S"), 1 / Math.sqrt(W));
  const gathered = g.reshape(g.transpose(y_HSW, 1, 0, 2), "S", D);
  const forward = g.program("toy.attend", { gathered });
  const seed = g.input("d.gathered", "float32", "S", D);
  return { forward, backward: g.program("toy.attend.back", namedGradients(g, [[gathered, seed]], prefixed({ q, k, v }))) };
}

function middlePrograms(shape: ToyShape): Both {
  const { width: D, innerWidth: F } = shape;
  const there = new GraphBuilder();
  const weights = inputs(there, shape, "out", "second", "up");
  const gathered_TD = there.input("gathered", "float32", "T", D);
  const middle = there.add(there.input("x", "float32", "T", D), times(there, gathered_TD, weights["out"]!));
  const inner = times(there, norm(there, middle, weights["second"]!), weights["up"]!);
  const forward = there.program("toy.middle", { middle, inner });

  const g = new GraphBuilder();
  const { out, second, up } = inputs(g, shape, "out", "second", "up");
  const middle_TD = g.input("middle", "float32", "T", D);
  const inner_TF = times(g, norm(g, middle_TD, second!), up!);
  const seed = g.input("d.inner", "float32", "T", F);
  const { slope, ...rest } = namedGradients(g, [[inner_TF, seed]], { slope: middle_TD, ...prefixed({ second: second!, up: up! }) });
  const dMiddle_TD = g.add(g.input("dy", "float32", "T", D), slope!);
  const gathered = g.input("gathered", "float32", "T", D);
  const attention = namedGradients(g, [[times(g, gathered, out!), dMiddle_TD]], prefixed({ gathered, out: out! }));
  return { forward, backward: g.program("toy.middle.back", { "d.middle": dMiddle_TD, ...rest, ...attention }) };
}

function lastPrograms(shape: ToyShape): Both & { readonly activate: Program } {
  const { width: D, innerWidth: F } = shape;
  const first = new GraphBuilder();
  const activate = first.program("toy.activate", { active: swish(first, first.input("inner", "float32", "T", F)) });
  const there = new GraphBuilder();
  const active_TF = there.input("active", "float32", "T", F);
  const product = times(there, active_TF, inputs(there, shape, "down")["down"]!);
  const forward = there.program("toy.last", { y: there.add(there.input("middle", "float32", "T", D), product) });

  const g = new GraphBuilder();
  const inner = g.input("inner", "float32", "T", F);
  const { down } = inputs(g, shape, "down");
  const y = times(g, swish(g, inner), down!);
  const slopes = namedGradients(g, [[y, g.input("dy", "float32", "T", D)]], prefixed({ inner, down: down! }));
  return { activate, forward, backward: g.program("toy.last.back", slopes) };
}

function normPrograms({ width: D }: ToyShape): Both {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", "N", D);
  const scale = g.input("scale", "float32", D);
  const h = norm(g, x, scale);
  const forward = g.program("toy.norm", { h });
  const slopes = namedGradients(g, [[h, g.input("dh", "float32", "N", D)]], { dx: x, "d.scale": scale });
  return { forward, backward: g.program("toy.norm.back", slopes) };
}

function headPrograms({ width: D }: ToyShape): TrainingProgram["head"] {
  const g = new GraphBuilder();
  const h = g.input("h", "float32", "N", D);
  const rows = g.input("rows", "float32", "V", D);
  const logits = times(g, h, rows);
  const shares = g.softmax(logits);
  const sumexp = g.div(g.constant(1), g.max(shares, [1], false));
  const forward = g.program("toy.head", { logits, shares, max: g.max(logits, [1], false), sumexp });
  const slope = g.mul(g.input("slope", "float32", "N", "V"), g.input("factor", "float32", "N", 1));
  return {
    forward,
    backward: g.program("toy.head.back", { dh: g.matMul(slope, rows) }),
    weightBackward: g.program("toy.head.rows", { "d.rows": g.matMul(slope, h, { transA: true }) }),
  };
}

function decoder(shape: ToyShape, set: ParameterSet, bytes: (parameter: WeightSpec) => Bytes | null, form?: CacheForm): Graph {
  const { heads: H, width: D } = shape;
  const W = D / H;
  const g = new GraphBuilder();
  const ids_BS = g.input("input_ids", "int64", "B", "S");
  const held =
    form === "held" ? heldCaches(g, { heads: H, keyValueHeads: H, headWidth: W }, ids_BS, (layer, kind) => `${kind}s.${layer}`) : null;
  const mask_BK = g.input("attention_mask", "int64", "B", "K");
  const positions_T = g.reshape(g.input("position_ids", "int64", "B", "S"), "T");
  const keep = held === null ? g.input("num_logits_to_keep", "int64") : g.index(1);
  const weight = (spec: WeightSpec): Value => {
    const where = bytes(spec);
    return where === null ? g.input(spec.name, "float32", ...spec.shape) : g.initializer(spec.name, "float32", spec.shape, where);
  };
  const table = slant(shape);
  const slant_TD = g.gather(g.initializer("slant", "float32", table.shape, bytesOf(table)), positions_T);
  const presents: Record<string, Value> = {};
  const cached = (name: string, x_TD: Value): Value => {
    const past_BHPW = g.input(`past_key_values.${name}`, "float32", "B", H, "P", W);
    return (presents[`present.${name}`] = g.concat([past_BHPW, g.splitHeads(x_TD, ids_BS, H)], 2, "K"));
  };
  let x_TD = g.gather(weight(set.embedding), g.reshape(ids_BS, "T"));
  for (const [layer, specs] of set.blocks.entries()) {
    const of = Object.fromEntries(specs.map((spec) => [spec.input, weight(spec)]));
    const h_TD = norm(g, x_TD, of["first"]!);
    const q_TD = g.add(times(g, h_TD, of["w.q"]!), slant_TD);
    const [k_TD, v_TD] = [times(g, h_TD, of["w.k"]!), times(g, h_TD, of["w.v"]!)];
    const attend = (): Value => {
      const k_BHKW = cached(`keys.${layer}`, k_TD);
      const v_BHKW = cached(`values.${layer}`, v_TD);
      const scores = g.maskScores(g.matMul(g.splitHeads(q_TD, ids_BS, H), k_BHKW, { transB: true, alpha: 1 / Math.sqrt(W) }), mask_BK);
      return g.transpose(g.matMul(g.softmax(scores), v_BHKW), 0, 2, 1, 3);
    };
    const gathered_TD = g.reshape(held === null ? attend() : held.attend(layer, (x) => x, q_TD, k_TD, v_TD), "T", D);
    const middle_TD = g.add(x_TD, times(g, gathered_TD, of["out"]!));
    const inner_TF = times(g, norm(g, middle_TD, of["second"]!), of["up"]!);
    x_TD = g.add(middle_TD, times(g, swish(g, inner_TF), of["down"]!));
  }
  const h_MD = norm(g, g.lastRows(x_TD, ids_BS, keep, "M"), weight(set.norm[0]!));
  return encode(
    g.program("toy.decoder", { logits: g.groupRows(times(g, h_MD, weight(set.head[0]!)), ids_BS, "N"), ...presents, ...held?.presents }),
  );
}
