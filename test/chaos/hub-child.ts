import { connect, createServer, type Socket } from "node:net";
import { Transform } from "node:stream";
import { startHubServer } from "../../infra/hub-server/server.js";

/**
 * `node hub-child.js ROOT PORT`: the hub behind a slow line. On SIGUSR2 every connection is cut, and the next few get an
 * answer that says 503.
 */
const [root, port] = process.argv.slice(2);
const BYTES_PER_MS = 12_000;
const REFUSALS = 3;

const hub = await startHubServer({ root: root!, host: "127.0.0.1", port: 0 });
const sockets = new Set<Socket>();
let refusals = 0;

const slow = (): Transform =>
  new Transform({ transform: (chunk: Buffer, _encoding, done) => void setTimeout(() => done(null, chunk), chunk.length / BYTES_PER_MS) });

const server = createServer((socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
  if (refusals > 0) {
    refusals--;
    socket.end("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  }
  const inner = connect(Number(new URL(hub.url).port), "127.0.0.1");
  inner.on("error", () => socket.destroy()).on("close", () => socket.end());
  socket.on("close", () => inner.destroy());
  socket.pipe(inner);
  inner.pipe(slow()).pipe(socket);
});
server.listen(Number(port), "127.0.0.1");
process.on("SIGUSR2", () => {
  refusals = REFUSALS;
  for (const socket of sockets) socket.destroy();
});
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
