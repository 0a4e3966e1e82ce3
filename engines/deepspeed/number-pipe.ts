import type { Readable } from "node:stream";

/** Reads raw fp32 numbers, little-endian as this machine's, from a pipe. */
export class NumberPipe {
  private readonly pipe: Readable;
  private readonly chunks: AsyncIterator<Buffer>;
  private rest: Uint8Array = new Uint8Array(0);

  constructor(pipe: Readable) {
    this.pipe = pipe;
    this.chunks = pipe[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** Nothing more is read: a pipe with bytes that nobody takes would never be closed, nor count as the end of its process. */
  close(): void {
    this.pipe.destroy();
  }

  /** Fills an array; false: the pipe ended before. */
  async read(into: Float32Array): Promise<boolean> {
    const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    let filled = 0;
    while (filled < bytes.length) {
      if (this.rest.length === 0) {
        const { value, done } = await this.chunks.next();
        if (done === true) return false;
        this.rest = value;
      }
      const part = this.rest.subarray(0, bytes.length - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.rest = this.rest.subarray(part.length);
    }
    return true;
  }
}
