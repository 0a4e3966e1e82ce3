import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** Serves answers on this machine until the test ends, and resolves to the address; `prepare` sees the server before it listens. */
export async function serve(
  context: TestContext,
  answer: RequestListener,
  prepare: (server: Server) => void = () => undefined,
): Promise<string> {
  const server = createServer(answer);
  prepare(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
