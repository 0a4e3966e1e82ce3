import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** An HTTP proxy in front of a real server, which makes trouble on command. */

/**
 * "cut": connections are cut, and then the next bodies in their middle; "500", "503": answers that the server never gave;
 * "slow": each answer is delayed; "lost answer": the server has done what was asked, but its answer is lost.
 */
export type HttpTrouble = "cut" | "500" | "503" | "slow" | "lost answer";

/** How many requests a trouble affects: more than the S3 client tries by itself. */
const REQUESTS: Readonly<Record<HttpTrouble, number>> = { cut: 4, "500": 5, "503": 5, slow: 8, "lost answer": 2 };
const SLOW_MS = 1500;

/** The proxy. `port` is the proxy's, not the server's. */
export class HttpProxy {
  /** method and path of every request since `forget` */
  readonly requests: string[] = [];
  private readonly upstream: () => Promise<number | null>;
  private readonly server: Server;
  private trouble: HttpTrouble | null = null;
  private left = 0;

  /** `upstream` is asked for the server's port at each request, because a restarted server may have another one. */
  constructor(upstream: () => Promise<number | null>) {
    this.upstream = upstream;
    this.server = createServer((incoming, outgoing) => void this.pass(incoming, outgoing));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Makes trouble for the next requests. */
  start(trouble: HttpTrouble): void {
    if (trouble === "cut") this.server.closeAllConnections();
    this.trouble = trouble;
    this.left = REQUESTS[trouble];
  }

  forget(): void {
    this.requests.length = 0;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** The trouble for a request, or null. Losing the answer to HEAD would test nothing. */
  private troubleFor(method: string): HttpTrouble | null {
    if (this.trouble === null || this.left === 0 || (this.trouble === "lost answer" && method === "HEAD")) return null;
    this.left--;
    return this.trouble;
  }

  private async pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = incoming;
    this.requests.push(`${method} ${url}`);
    const trouble = this.troubleFor(method);
    const cut = (): void => void incoming.socket.resetAndDestroy();
    incoming.on("error", cut);
    outgoing.on("error", cut);
    if (trouble === "500" || trouble === "503") {
      incoming.resume();
      const code = trouble === "500" ? "InternalError" : "SlowDown";
      outgoing.writeHead(Number(trouble), { "content-type": "application/xml", connection: "close" });
      outgoing.end(method === "HEAD" ? undefined : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>chaos</Message></Error>`);
      return;
    }
    const port = await this.upstream().catch(() => null);
    if (port === null) return cut();
    const bytes = Number(incoming.headers["content-length"] ?? 0);
    const headers = pairs(incoming.rawHeaders).filter(([name]) => !/^(expect|connection)$/i.test(name));
    const inner = request({ host: "127.0.0.1", port, method, path: url, headers: headers.flat(), agent: false });
    inner.on("error", cut);
    outgoing.on("close", () => inner.destroy());
    inner.on("response", (answer) => void this.answer(answer, outgoing, trouble, bytes > 0, cut));
    if (trouble === "cut" && bytes > 0) halfOf(incoming, bytes, cut);
    incoming.pipe(inner);
  }

  private async answer(
    answer: IncomingMessage,
    outgoing: ServerResponse,
    trouble: HttpTrouble | null,
    hadBody: boolean,
    cut: () => void,
  ): Promise<void> {
    answer.on("error", cut);
    if (trouble === "lost answer") {
      answer.resume();
      answer.on("end", cut);
      return;
    }
    if (trouble === "slow") await sleep(SLOW_MS);
    outgoing.writeHead(
      answer.statusCode!,
      answer.statusMessage,
      pairs(answer.rawHeaders)
        .filter(([name]) => !/^connection$/i.test(name))
        .flat(),
    );
    if (trouble === "cut" && !hadBody) halfOf(answer, Number(answer.headers["content-length"] ?? 0), cut);
    answer.pipe(outgoing);
  }
}

/** Cuts when half of a body has passed. */
function halfOf(body: IncomingMessage, bytes: number, cut: () => void): void {
  let passed = 0;
  body.on("data", (chunk: Buffer) => {
    passed += chunk.length;
    if (passed >= bytes / 2) cut();
  });
}

function pairs(raw: readonly string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, index) => [raw[2 * index]!, raw[2 * index + 1]!]);
}
