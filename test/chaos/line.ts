import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** A TCP proxy between one process and a real server. It can cut its connections, or fall silent for a while as a network does. */
export class Line {
  private readonly upstream: () => Promise<{ readonly host: string; readonly port: number } | null>;
  private readonly server: Server;
  private readonly ends = new Map<Socket, Socket>();
  private silent: Promise<void> | null = null;

  /** `upstream` is asked at each connection, because a restarted server may have another address. */
  constructor(upstream: () => Promise<{ readonly host: string; readonly port: number } | null>) {
    this.upstream = upstream;
    this.server = createServer((socket) => void this.join(socket));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Resets every connection. */
  cut(): void {
    for (const [outer, inner] of this.ends) {
      outer.resetAndDestroy();
      inner.destroy();
    }
  }

  /** Lets nothing through until `period` resolves. Neither side is told. */
  async silence(period: Promise<unknown>): Promise<void> {
    this.silent = period.then(
      () => undefined,
      () => undefined,
    );
    for (const [outer, inner] of this.ends) {
      outer.unpipe(inner).pause();
      inner.unpipe(outer).pause();
    }
    await this.silent;
    this.silent = null;
    for (const [outer, inner] of this.ends) join(outer, inner);
  }

  close(): void {
    this.server.close();
    this.cut();
  }

  private async join(outer: Socket): Promise<void> {
    outer.on("error", () => undefined).pause();
    await this.silent;
    const address = await this.upstream().catch(() => null);
    if (address === null || outer.destroyed) return void outer.resetAndDestroy();
    const inner = connect({ ...address, noDelay: true });
    outer.setNoDelay(true);
    this.ends.set(outer, inner);
    inner.on("error", () => outer.resetAndDestroy()).on("close", () => outer.destroy());
    outer.on("close", () => {
      inner.destroy();
      this.ends.delete(outer);
    });
    join(outer, inner);
  }
}

function join(outer: Socket, inner: Socket): void {
  outer.pipe(inner);
  inner.pipe(outer);
}
