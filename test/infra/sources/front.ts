import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A server before an S3 server that passes everything on, counts ranges, and can be made to misbehave. */
export interface Front {
  readonly url: string;
  /** "GET key range" of each request */
  readonly asked: string[];
  /** bytes of an answer after which the connection is cut; null: none is */
  cutAfter: number | null;
  close(): Promise<void>;
}

/** Starts one before the server at `endpoint`. Signatures hold, for the host that was asked is passed on as well. */
export async function startFront(endpoint: string): Promise<Front> {
  const { hostname, port } = new URL(endpoint);
  const pass = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    front.asked.push(`${incoming.method} ${incoming.url!.split("?")[0]} ${incoming.headers.range ?? ""}`.trim());
    const { method, url, headers } = incoming;
    const asked = request({ hostname, port, method, path: url, headers, agent: false }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      let left = incoming.method === "GET" ? (front.cutAfter ?? Infinity) : Infinity;
      answer.on("data", (chunk: Buffer) => {
        if (chunk.length > left) outgoing.write(chunk.subarray(0, left), () => outgoing.destroy());
        else outgoing.write(chunk);
        left -= Math.min(left, chunk.length);
      });
      answer.on("end", () => outgoing.end()).on("error", () => outgoing.destroy());
    });
    asked.on("error", () => outgoing.destroy());
    incoming.pipe(asked);
  };
  const server = createServer(pass);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const front: Front = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    cutAfter: null,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return front;
}
