import { GraphBuilder } from "../core/graph/graph.js";
import { encode } from "../core/graph/lower.js";
import { floats } from "../core/graph/tensor.js";
import { createSession } from "../engines/onnx/session/session.js";
import type { Product } from "./product.js";

/** A process that multiplies matrices with one thread: it sends "ready", waits for any message, and sends its operations per second. */

const { m, k, n, seconds } = JSON.parse(process.argv[2]!) as Product & { readonly seconds: number };
const g = new GraphBuilder();
const a = g.input("a", "float32", m, k);
const session = await createSession(encode(g.program("product", { c: g.matMul(a, g.input("b", "float32", n, k), { transB: true }) })), {
  threads: 1,
});
const values = (count: number): Float32Array => Float32Array.from({ length: count }, (_, index) => (index % 17) - 8);
const inputs = { a: floats(values(m * k), m, k), b: floats(values(n * k), n, k) };
const outputs = { c: floats(new Float32Array(m * n), m, n) };
await session.run(inputs, outputs);
process.once("message", () => {
  void (async () => {
    const started = performance.now();
    let runs = 0;
    let passed = 0;
    for (; passed < seconds; passed = (performance.now() - started) / 1000) {
      await session.run(inputs, outputs);
      runs++;
    }
    process.send!((2 * m * k * n * runs) / passed);
    process.disconnect();
  })();
});
process.send!("ready");
