import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import type { Graph, Tensor } from "../../core/onnx/tensor.js";

/** A graph ready to run. `run` blocks the thread that calls it until the graph is done. */
export interface Session {
  readonly graph: Graph;
  /**
   * Runs the graph. `inputs` may hold more than the graph takes. `outputs` names the wanted ones: a tensor is written in
   * place, null is allocated. Data may be a view of mapped memory, but not of a SharedArrayBuffer.
   */
  run(inputs: Readonly<Record<string, Tensor>>, outputs: Readonly<Record<string, Tensor | null>>): Promise<Record<string, Tensor>>;
  close(): Promise<void>;
}

/** Compiles a graph for the CPU, with `threads` threads that sleep, not spin, while they wait. */
export async function createSession(graph: Graph, options: { readonly threads: number }): Promise<Session> {
  const session = await InferenceSession.create(graph.bytes, {
    executionMode: "sequential",
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    // rows differ in length from run to run, so a remembered memory plan would seldom fit
    enableMemPattern: false,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
  return {
    graph,
    async run(inputs, outputs) {
      const feeds: Record<string, OrtTensor> = {};
      for (const { name } of graph.inputs) {
        const input = inputs[name];
        if (input === undefined) throw new Error(`an input of the graph is missing [graph=${graph.name}, input=${name}]`);
        feeds[name] = toOrt(input);
      }
      const fetches = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor === null ? null : toOrt(tensor)]));
      const results = await session.run(feeds, fetches);
      return Object.fromEntries(Object.entries(results).map(([name, result]) => [name, outputs[name] ?? fromOrt(result)]));
    },
    close: () => session.release(),
  };
}

function toOrt({ type, data, shape }: Tensor): OrtTensor {
  return new OrtTensor(type as "float32", data as Float32Array, shape);
}

function fromOrt(tensor: OrtTensor): Tensor {
  return { type: tensor.type, shape: tensor.dims, data: tensor.data } as Tensor;
}
