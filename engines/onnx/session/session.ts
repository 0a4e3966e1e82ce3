import koffi from "koffi";
import type { ElementType, Graph, Tensor } from "../../../core/graph/tensor.js";
import * as ort from "./library.js";

/** A graph ready to run. `run` blocks the thread that calls it until the graph is done. */
export interface Session {
  readonly graph: Graph;
  /**
   * Runs the graph. `inputs` may hold more than the graph takes. `outputs` names the wanted ones: a tensor is written in
   * place, null is allocated. Data may be a view of mapped memory.
   */
  run(inputs: Readonly<Record<string, Tensor>>, outputs: Readonly<Record<string, Tensor | null>>): Promise<Record<string, Tensor>>;
  /** Gives the session's memory back; sessions that are open when their thread ends are closed then, unless it is terminated. */
  close(): Promise<void>;
}

/** How a graph is run. */
export interface SessionOptions {
  /** they sleep, not spin, while they wait */
  readonly threads: number;
  /**
   * Tensors of the graph that lie elsewhere in it (see `Bytes`), by their names: onnxruntime keeps a copy of a matrix in the order in
   * which products read it. Their memory must stay as it is until the session is closed.
   */
  readonly initializers?: Readonly<Record<string, Tensor>>;
}

/** Compiles a graph for the CPU. */
export async function createSession(graph: Graph, options: SessionOptions): Promise<Session> {
  const { threads, initializers = {} } = options;
  const kept = Object.entries(initializers).map(([name, tensor]) => [name, wrap(tensor)] as const);
  const release = (): void => kept.forEach(([, value]) => ort.releaseValue(value));
  let session: bigint;
  try {
    session = open(graph, threads, kept);
  } catch (error) {
    release();
    throw error;
  }
  openSessions.add(session);
  inUse.add(initializers);
  const types = new Map(graph.outputs.map(({ name, type }) => [name, type]));
  const texts = new Map([...graph.inputs, ...graph.outputs].map(({ name }) => [name, Uint8Array.from(Buffer.from(`${name}\0`)).buffer]));
  const addresses = (names: readonly string[]): BigUint64Array => BigUint64Array.from(names, (name) => addressOf(texts, name));
  const inputNames = addresses(graph.inputs.map(({ name }) => name));
  return {
    graph,
    async run(inputs, outputs) {
      const names = Object.keys(outputs);
      const ins: bigint[] = [];
      const outs = new BigUint64Array(names.length);
      inUse.add(inputs);
      try {
        for (const { name } of graph.inputs) {
          const input = inputs[name];
          if (input === undefined) throw new Error(`an input of the graph is missing [graph=${graph.name}, input=${name}]`);
          ins.push(wrap(input));
        }
        names.forEach((name, index) => (outs[index] = outputs[name] ? wrap(outputs[name]) : 0n));
        const outputNames = addresses(names);
        ort.runSession(session, null, inputNames, BigUint64Array.from(ins), ins.length, outputNames, names.length, outs);
        return Object.fromEntries(names.map((name, index) => [name, outputs[name] ?? copy(outs[index]!, types.get(name)!)]));
      } finally {
        inUse.delete(inputs);
        for (const value of [...ins, ...outs]) if (value !== 0n) ort.releaseValue(value);
      }
    },
    async close() {
      if (!openSessions.delete(session)) return;
      ort.releaseSession(session);
      inUse.delete(initializers);
      release();
    },
  };
}

/** Inputs of runs under way and initializers of sessions: onnxruntime knows addresses only, which keep nothing alive. */
const inUse = new Set<object>();

const openSessions = new Set<bigint>();
process.once("exit", () => openSessions.forEach(ort.releaseSession));

/** Errors are thrown, so they need no log. */
const LOG_FATAL = 4;
const DEVICE_ALLOCATOR = 0;
const DEFAULT_KIND = 0;
const environment = made((out) => ort.createEnvironment(LOG_FATAL, "roslin", out));
const memory = made((out) => ort.createCpuMemory(DEVICE_ALLOCATOR, DEFAULT_KIND, out));

function open(graph: Graph, threads: number, initializers: readonly (readonly [string, bigint])[]): bigint {
  const options = made(ort.createOptions);
  try {
    // rows differ in length from run to run, so a remembered memory plan would seldom fit
    ort.disableMemoryPattern(options);
    ort.disableArena(options);
    ort.setThreads(options, threads);
    ort.setConfig(options, "session.intra_op.allow_spinning", "0");
    if (initializers.length > 0) {
      const names = initializers.map(([name]) => Uint8Array.from(Buffer.from(`${name}\0`)).buffer);
      const values = BigUint64Array.from(initializers, ([, value]) => value);
      ort.addInitializers(
        options,
        BigUint64Array.from(names, (name) => koffi.address(name)),
        values,
        values.length,
      );
    }
    return made((out) => ort.createSessionFromBytes(environment, graph.bytes, graph.bytes.length, options, out));
  } finally {
    ort.releaseOptions(options);
  }
}

/** What a C function leaves at its last argument. */
function made(call: (out: BigUint64Array) => void): bigint {
  const out = new BigUint64Array(1);
  call(out);
  return out[0]!;
}

/** ONNX's numbers for element types. */
const TYPES: Record<ElementType, number> = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10, bfloat16: 16 };

/** A tensor as onnxruntime takes it, over the same memory; to be released. */
function wrap({ data, shape, type }: Tensor): bigint {
  // a small array lies in memory that V8 moves, until somebody asks for its buffer
  void data.buffer;
  return made((out) => ort.createTensor(memory, data, data.byteLength, BigInt64Array.from(shape, BigInt), shape.length, TYPES[type], out));
}

/** A tensor that onnxruntime has allocated, in memory of our own. */
function copy(value: bigint, type: ElementType): Tensor {
  const info = made((out) => ort.getShapeInfo(value, out));
  const dimensions = new BigInt64Array(Number(made((out) => ort.getRank(info, out))));
  ort.getShape(info, dimensions, dimensions.length);
  ort.releaseShapeInfo(info);
  const shape = Array.from(dimensions, Number);
  const size = shape.reduce((product, axis) => product * axis, 1);
  const data =
    type === "float32"
      ? new Float32Array(size)
      : type === "int64"
        ? new BigInt64Array(size)
        : type === "int32"
          ? new Int32Array(size)
          : new Uint8Array(size);
  if (size > 0)
    ort.copyFrom(
      data,
      made((out) => ort.getData(value, out)),
      data.byteLength,
    );
  return { type, shape, data } as Tensor;
}

/** Where a name lies as a C string. */
function addressOf(texts: ReadonlyMap<string, ArrayBuffer>, name: string): bigint {
  const text = texts.get(name);
  if (text === undefined) throw new Error(`the graph has no such output [output=${name}]`);
  return koffi.address(text);
}
