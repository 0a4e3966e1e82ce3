import { connect, createServer } from "node:net";
import { Transform } from "node:stream";
import { startHubServer } from "../../demo/hub/server.js";

/** `node hub-child.js ROOT PORT`: the hub behind a slow connection, so that a download takes long enough to be hit. */
const [root, port] = process.argv.slice(2);
const BYTES_PER_MS = 12_000;

const hub = await startHubServer({ root: root!, host: "127.0.0.1", port: 0 });

const slow = (): Transform =>
  new Transform({ transform: (chunk: Buffer, _encoding, done) => void setTimeout(() => done(null, chunk), chunk.length / BYTES_PER_MS) });

const server = createServer((socket) => {
  const inner = connect(Number(new URL(hub.url).port), "127.0.0.1");
  inner.on("error", () => socket.destroy());
  socket.on("error", () => undefined).on("close", () => inner.destroy());
  socket.pipe(inner);
  inner.pipe(slow()).pipe(socket);
});
server.listen(Number(port), "127.0.0.1");
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
