import { parentPort } from "node:worker_threads";
import { GraphBuilder } from "../../../../core/graph/graph.js";
import { encode } from "../../../../core/graph/lower.js";
import { floats } from "../../../../core/graph/tensor.js";
import { createSession } from "../../../../engines/onnx/session/session.js";

/** A thread that opens a session with threads of its own, runs it once, and ends without closing it. */
const g = new GraphBuilder();
const session = await createSession(encode(g.program("double", { y: g.mul(g.input("x", "float32", "N"), g.constant(2)) })), { threads: 2 });
const { y } = await session.run({ x: floats(Float32Array.of(1, 2, 3), 3) }, { y: null });
parentPort!.postMessage([...(y!.data as Float32Array)]);
