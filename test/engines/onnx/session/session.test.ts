import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { bytesOf, GraphBuilder } from "../../../../core/graph/graph.js";
import { encode } from "../../../../core/graph/lower.js";
import { floats, type Graph, type Tensor } from "../../../../core/graph/tensor.js";
import { createSession } from "../../../../engines/onnx/session/session.js";

const numbers = (tensor: Tensor | undefined): number[] => [...(tensor!.data as Float32Array)];

/** y = x @ w, z = -y */
function product(): Graph {
  const g = new GraphBuilder();
  const y = g.matMul(g.input("x", "float32", "T", 2), g.input("w", "float32", 2, 2));
  g.input("unused", "float32", 7);
  return encode(g.program("product", { y, z: g.neg(y) }));
}
const x = floats(Float32Array.of(1, 2, 3, 4), 2, 2);
const w = floats(Float32Array.of(1, 0, 1, 1), 2, 2);

describe("createSession", () => {
  it("takes tensors that lie elsewhere in the graph from memory", async () => {
    const g = new GraphBuilder();
    const elsewhere = g.initializer("w", "float32", [2, 2], { location: "weights", offset: 0, length: 16 });
    const graph = encode(g.program("packed", { y: g.matMul(g.input("x", "float32", "T", 2), elsewhere) }));
    const session = await createSession(graph, { threads: 1, initializers: { w } });
    assert.deepEqual(numbers((await session.run({ x }, { y: null }))["y"]), [3, 2, 7, 4]);
    await session.close();
    await assert.rejects(createSession(graph, { threads: 1 }), /onnxruntime: .*weights/);
  });

  it("runs a graph for any size of its open axis, and leaves out inputs that nothing needs", async () => {
    const session = await createSession(product(), { threads: 1 });
    assert.deepEqual(
      session.graph.inputs.map(({ name }) => name),
      ["x", "w"],
    );
    const { y, z } = await session.run({ x, w, other: w }, { y: null, z: null });
    assert.deepEqual(
      [y!.shape, numbers(y), numbers(z)],
      [
        [2, 2],
        [3, 2, 7, 4],
        [-3, -2, -7, -4],
      ],
    );
    const one = await session.run({ x: floats(Float32Array.of(1, 1), 1, 2), w }, { y: null });
    assert.deepEqual([one["y"]!.shape, numbers(one["y"]), Object.keys(one)], [[1, 2], [2, 1], ["y"]]);
    await session.close();
  });

  it("writes into given memory, a view in the middle of a buffer too, and hands back the same tensor", async () => {
    const session = await createSession(product(), { threads: 1 });
    const memory = new Float32Array(8);
    const y = floats(memory.subarray(2, 6), 2, 2);
    const results = await session.run({ x, w }, { y });
    assert.equal(results["y"], y);
    assert.deepEqual([...memory], [0, 0, 3, 2, 7, 4, 0, 0]);
    await session.close();
  });

  it("names a missing input", async () => {
    const session = await createSession(product(), { threads: 1 });
    await assert.rejects(session.run({ x }, { y: null }), /graph=product, input=w/);
    await session.close();
  });
});

describe("a session's life", () => {
  it("passes on what onnxruntime says of inputs that don't fit", async () => {
    const session = await createSession(product(), { threads: 1 });
    await assert.rejects(session.run({ x, w: floats(new Float32Array(6), 3, 2) }, { y: null }), /^Error: onnxruntime: .*w/s);
    await assert.rejects(session.run({ x, w }, { y: floats(new Float32Array(2), 1, 2) }), /^Error: onnxruntime: /);
    await assert.rejects(session.run({ x, w }, { nothing: null }), /no such output \[output=nothing\]/);
    await session.close();
  });

  it("may be closed twice", async () => {
    const session = await createSession(product(), { threads: 1 });
    await session.close();
    await session.close();
  });

  it("ends with its thread, and those of other threads go on", async () => {
    const session = await createSession(product(), { threads: 1 });
    for (let round = 0; round < 3; round++) {
      const thread = new Worker(new URL("session-child.js", import.meta.url));
      const [[doubled], [code]] = await Promise.all([once(thread, "message"), once(thread, "exit")]);
      assert.deepEqual([doubled, code], [[2, 4, 6], 0]);
      const { y } = await session.run({ x, w }, { y: null });
      assert.deepEqual(numbers(y), [3, 2, 7, 4]);
    }
    await session.close();
  });
});

describe("encode", () => {
  it("gives a value that is asked for twice, or that is an input, under each name", async () => {
    const g = new GraphBuilder();
    const input = g.input("x", "float32", 2);
    const y = g.neg(input);
    const session = await createSession(encode(g.program("twice", { y, again: y, same: input })), { threads: 1 });
    const results = await session.run({ x: floats(Float32Array.of(1, 2), 2) }, { y: null, again: null, same: null });
    assert.deepEqual(
      [numbers(results["y"]), numbers(results["again"]), numbers(results["same"])],
      [
        [-1, -2],
        [-1, -2],
        [1, 2],
      ],
    );
    await session.close();
  });

  it("writes initializers inside the model and in a file beside it", async () => {
    const directory = await mkdtemp(join(tmpdir(), "roslin-onnx-"));
    try {
      const bytes = bytesOf(floats(Float32Array.of(9, 9, 1, 2, 3, 4)));
      await writeFile(join(directory, "weights.bin"), bytes);
      const g = new GraphBuilder();
      const table = g.initializer("table", "float32", [2, 2], { location: "weights.bin", offset: 8, length: 16 });
      const offset = g.initializer("offset", "float32", [2], bytesOf(floats(Float32Array.of(10, 20), 2)));
      const y = g.add(g.gather(table, g.input("ids", "int32", "T")), offset);
      const joined = g.concat([y, g.transpose(table, 1, 0)], 0, "T + 2");
      await writeFile(join(directory, "model.onnx"), encode(g.program("external", { joined })).bytes);
      const session = await InferenceSession.create(join(directory, "model.onnx"));
      const results = await session.run({ ids: new OrtTensor("int32", Int32Array.of(1), [1]) });
      assert.deepEqual([[...session.inputNames], [...(results["joined"]!.data as Float32Array)]], [["ids"], [13, 24, 1, 3, 2, 4]]);
      await session.release();
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe("GraphBuilder", () => {
  it("refuses operands that don't fit, naming both sizes", () => {
    const g = new GraphBuilder();
    assert.throws(
      () => g.matMul(g.input("a", "float32", "T", 3), g.input("b", "float32", 4, 2)),
      /MatMul: sizes differ \[left=3, right=4\]/,
    );
    assert.throws(() => g.add(g.input("c", "float32", "T"), g.input("d", "float32", "L")), /broadcast: sizes differ \[left=T, right=L\]/);
  });
});
