import { connect, isIP, type Socket } from "node:net";
import { connect as connectSecurely } from "node:tls";

/**
 * GET with the least work a byte: Node's own client hands bodies on in small pieces, which costs twice as much as receiving
 * and writing them.
 */

/** An answer whose body has not been read. */
export interface Answer {
  readonly status: number;
  /** A header by its name in lower case. */
  header(name: string): string | undefined;
  /**
   * Hands the body to `consume`, chunk by chunk. A chunk is valid during the call, and if the call returns a promise, until
   * that resolves. It lies where `room` asked for it, if that was possible. Rejects if the body ends early.
   */
  drain(consume: Consume, room?: Room): Promise<void>;
  /** Lets the body go unread. */
  discard(): void;
}

/** Takes a chunk; the next one comes after its promise has resolved. */
export type Consume = (chunk: Buffer) => void | Promise<void>;
/** Gives the memory where the next bytes are best received; null: anywhere. */
export type Room = () => Uint8Array | null;

/** Bytes that are read at a time if the consumer gives no room. */
const BUFFER_BYTES = 1 << 16;
const MAX_HEAD_BYTES = 1 << 16;
/** Milliseconds after which an idle connection is closed. */
const IDLE_MS = 4000;

const idle = new Map<string, Wire[]>();

/** Sends one GET; resolves with the head of its answer, or null if only Node's client can read the answer. */
export async function ask(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer | null> {
  const lines = [`GET ${url.pathname}${url.search} HTTP/1.1`, `host: ${url.host}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  const text = `${lines.join("\r\n")}\r\n\r\n`;
  const kept = idle.get(url.origin)?.pop();
  if (kept !== undefined) {
    try {
      return await kept.ask(text, signal);
    } catch (error) {
      // the server may have closed it while it was idle
      if (signal.aborted || kept.heard) throw error;
    }
  }
  return new Wire(url).ask(text, signal);
}

/** One connection, one request at a time. */
class Wire {
  /** whether the answer to the last request has begun */
  heard = false;
  private readonly origin: string;
  private readonly socket: Socket;
  private head = Buffer.alloc(0);
  private left = 0;
  private keep = true;
  private room: Room | null = null;
  private consume: Consume | null = null;
  private inBody = false;
  /** whether the consumer still works on a chunk */
  private busy = false;
  /** what came while nothing consumed it: TLS hands on all that it has decrypted, paused or not */
  private pending: Buffer[] = [];
  private settle: { resolve(): void; reject(error: Error): void } | null = null;

  constructor(url: URL) {
    this.origin = url.origin;
    const callback = (length: number, buffer: Uint8Array): boolean => this.take(Buffer.from(buffer.buffer, buffer.byteOffset, length));
    const own = Buffer.alloc(BUFFER_BYTES);
    const buffer = (): Uint8Array => (this.busy ? Buffer.allocUnsafe(BUFFER_BYTES) : (this.room?.() ?? own));
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const secure = url.protocol === "https:";
    const place = { host, port: Number(url.port || (secure ? 443 : 80)), onread: { buffer, callback } };
    this.socket = secure
      ? connectSecurely({ ...place, servername: isIP(host) === 0 ? host : "", ALPNProtocols: ["http/1.1"] })
      : connect(place);
    this.socket.on("error", (error) => this.fail(error)).on("close", () => this.closed());
    this.socket.on("timeout", () => this.socket.destroy());
  }

  async ask(text: string, signal: AbortSignal): Promise<Answer | null> {
    const abort = (): void => void this.socket.destroy(new Error("aborted"));
    signal.throwIfAborted();
    signal.addEventListener("abort", abort, { once: true });
    const over = (): void => signal.removeEventListener("abort", abort);
    try {
      this.heard = this.inBody = this.busy = false;
      this.head = Buffer.alloc(0);
      this.pending = [];
      this.socket.setTimeout(0).resume();
      const begun = this.waited();
      this.socket.write(text);
      await begun;
      return this.answer(over);
    } catch (error) {
      over();
      throw error;
    }
  }

  /** Takes what arrived: the head until it is whole, then the body. False: nothing more may come until the body is consumed. */
  private take(chunk: Buffer): boolean {
    this.heard = true;
    if (!this.inBody) return this.takeHead(chunk);
    if (this.consume !== null && !this.busy) return this.pass(chunk);
    this.pending.push(Buffer.from(chunk));
    return false;
  }

  private takeHead(chunk: Buffer): boolean {
    this.head = Buffer.concat([this.head, chunk]);
    const end = this.head.indexOf("\r\n\r\n");
    if (end < 0 && this.head.length < MAX_HEAD_BYTES) return true;
    this.inBody = true;
    const rest = this.head.subarray(end + 4);
    if (rest.length > 0) this.pending.push(Buffer.from(rest));
    this.settled()?.resolve();
    return false;
  }

  /** Hands a chunk on; true if the next one can follow at once. */
  private pass(chunk: Buffer): boolean {
    try {
      this.left -= chunk.length;
      if (this.left < 0) throw new Error("more bytes came than the answer announced");
      const busy = this.consume!(chunk);
      if (busy instanceof Promise) {
        this.busy = true;
        busy.then(
          () => {
            this.busy = false;
            this.goOn();
          },
          (error: Error) => this.fail(error),
        );
        return false;
      }
    } catch (error) {
      this.fail(error as Error);
      return false;
    }
    if (this.left > 0 || this.pending.length > 0) return true;
    this.release();
    return false;
  }

  /** Hands on what is pending, and lets more come. */
  private goOn(): void {
    while (this.pending.length > 0) if (!this.pass(this.pending.shift()!)) return;
    if (this.left === 0) this.release();
    else if (this.socket.destroyed) this.closed();
    else this.socket.resume();
  }

  /** The connection is closed; bytes that have arrived are still handed on. */
  private closed(): void {
    if (!this.busy) this.fail(new Error("the connection was closed"));
  }

  private answer(over: () => void): Answer | null {
    const end = this.head.indexOf("\r\n\r\n");
    const [first = "", ...lines] = this.head.subarray(0, Math.max(0, end)).toString("latin1").split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]);
    const headers = new Map(lines.map((line) => [line.split(":", 1)[0]!.toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
    const length = headers.get("content-length") ?? "";
    // the body of a redirect or a refusal is not read
    const readable = status >= 300 || (status >= 200 && !headers.has("transfer-encoding") && /^\d+$/.test(length));
    if (!readable) {
      over();
      this.socket.destroy();
      return null;
    }
    this.left = Number(length);
    this.keep = headers.get("connection")?.toLowerCase() !== "close";
    return {
      status,
      header: (name) => headers.get(name),
      drain: async (consume, room) => {
        try {
          this.consume = consume;
          this.room = room ?? null;
          const ended = this.waited();
          this.goOn();
          await ended;
        } finally {
          over();
        }
      },
      discard: () => {
        over();
        this.socket.destroy();
      },
    };
  }

  /** The body is over: the connection waits for the next request. */
  private release(): void {
    this.consume = this.room = null;
    if (this.keep && !this.socket.destroyed) {
      this.socket.setTimeout(IDLE_MS);
      idle.set(this.origin, [...(idle.get(this.origin) ?? []), this]);
    } else this.socket.destroy();
    this.settled()?.resolve();
  }

  private fail(error: Error): void {
    this.consume = this.room = null;
    this.pending = [];
    this.socket.destroy();
    idle.set(
      this.origin,
      (idle.get(this.origin) ?? []).filter((wire) => wire !== this),
    );
    this.settled()?.reject(error);
  }

  private waited(): Promise<void> {
    return new Promise((resolve, reject) => void (this.settle = { resolve, reject }));
  }

  private settled(): { resolve(): void; reject(error: Error): void } | null {
    const { settle } = this;
    this.settle = null;
    return settle;
  }
}
