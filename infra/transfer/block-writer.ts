import { closeSync, constants, openSync, write } from "node:fs";
import { promisify } from "node:util";
import { UserError } from "../../core/errors.js";

/** Bytes that are written at a time: so many that the cost of one write is small beside them. */
const BLOCK_BYTES = 2 ** 21;
/** Blocks of one stretch: one is filled, one written and one digested at the same time; two more bridge delays of any of these. */
const BLOCKS = 5;
/** Milliseconds that bytes from a slow line wait for the rest of their block. */
const WAIT_MS = 50;

const writeAt = promisify(write);

/** Bytes of a file that are being written and lie in memory, which two threads share: until `release` they stay as they are. */
export interface Piece {
  /** of its first byte, in the file */
  readonly start: number;
  readonly bytes: Uint8Array;
  /** 1 until it is released */
  readonly held: Int32Array<SharedArrayBuffer>;
}

/** How far a transfer has come. */
export interface Progress {
  /** the file has its bytes up to here */
  readonly upTo: number;
  /** what begins to be written, in memory */
  readonly piece: Piece | null;
}

/** Gives a piece's memory back to the thread that made it. */
export function release({ held }: Piece): void {
  Atomics.store(held, 0, 0);
  Atomics.notify(held, 0);
}

/** Zeroed memory that threads share. It begins where a page does, because memory that can grow always does. */
export function pages(bytes: number): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(new SharedArrayBuffer(bytes, { maxByteLength: bytes }));
}

/** A file to write into, through the page cache and, where the system can, past it. */
export class PartFile {
  private readonly cached: number;
  private direct: number | null;

  /** Throws the system's error when there is no such file. */
  constructor(path: string) {
    this.cached = openSync(path, "r+");
    this.direct = openDirect(path);
  }

  /** Writes all of `bytes`. `past`: past the page cache, if it can be; begin and length have to be a page's in memory and file. */
  async write(bytes: Uint8Array, start: number, past: boolean): Promise<void> {
    let written = past ? await this.writeDirect(bytes, start) : 0;
    while (written < bytes.length) {
      const rest = await writeAt(this.cached, bytes, written, bytes.length - written, start + written);
      written += rest.bytesWritten;
    }
  }

  close(): void {
    closeSync(this.cached);
    if (this.direct !== null) closeSync(this.direct);
  }

  private async writeDirect(bytes: Uint8Array, start: number): Promise<number> {
    if (this.direct === null) return 0;
    try {
      return (await writeAt(this.direct, bytes, 0, bytes.length, start)).bytesWritten;
    } catch (error) {
      // a file system may take the flag and refuse the write
      if (!["EINVAL", "ENOTSUP", "EOPNOTSUPP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      closeSync(this.direct);
      this.direct = null;
      return 0;
    }
  }
}

/** Opens a file for writes past the page cache; null if the file system or the operating system can't do that. */
function openDirect(path: string): number | null {
  const { O_DIRECT } = constants as { readonly O_DIRECT?: number };
  if (O_DIRECT === undefined) return null;
  try {
    return openSync(path, constants.O_WRONLY | O_DIRECT);
  } catch {
    return null;
  }
}

interface Block {
  readonly memory: Uint8Array<SharedArrayBuffer>;
  readonly held: Int32Array<SharedArrayBuffer>;
  /** writes under way */
  writes: number;
  /** settles with the last of them */
  written: Promise<void>;
}

/** Blocks of finished stretches, some of them still held. They are used again, because new memory costs a page fault a page. */
const spare: Block[] = [];

function newBlock(): Block {
  return { memory: pages(BLOCK_BYTES), held: new Int32Array(new SharedArrayBuffer(4)), writes: 0, written: Promise.resolve() };
}

const isFree = (block: Block): boolean => block.writes === 0 && Atomics.load(block.held, 0) === 0;

/**
 * Receives a stretch of a file and writes it block by block. A block lies in memory as it does in the file, from a
 * page's start to a page's end: a kernel copies that at up to twice the speed of what lies askew.
 */
export class BlockWriter {
  private readonly file: PartFile;
  private readonly until: number;
  private readonly inOrder: boolean;
  private readonly onProgress: (progress: Progress) => void;
  /** in the order in which they were used */
  private readonly blocks = spare.splice(0, BLOCKS);
  /** the block that is filled; null: all of them are in use */
  private block: Block | null;
  private writing: Promise<void> = Promise.resolve();
  /** why no more bytes are taken */
  private failure: Error | null = null;
  /** the end of the bytes that came */
  private at: number;
  /** the end of the bytes that are written, or soon will be */
  private ordered: number;
  /** the end of the bytes that are written */
  private written: number;
  private orderedAt = performance.now();
  private skip: number;

  /**
   * Receives the bytes from `start` to `end`. `skip`: the number of bytes that come before them and are on disk already.
   * `inOrder`: everything before them is on disk and will be digested before them; then whole blocks are digested from
   * memory and written past the page cache, because they are not read again.
   */
  constructor(
    file: PartFile,
    { start, end, skip, inOrder }: { readonly start: number; readonly end: number; readonly skip: number; readonly inOrder: boolean },
    onProgress: (progress: Progress) => void,
  ) {
    this.file = file;
    this.until = end;
    this.at = this.ordered = this.written = start;
    this.skip = skip;
    this.inOrder = inOrder;
    this.onProgress = onProgress;
    this.block = this.freeBlock();
  }

  /** Where the next bytes are best put, never empty; null: nowhere yet. */
  readonly room = (): Uint8Array | null => this.block?.memory.subarray(this.at % BLOCK_BYTES) ?? null;

  /**
   * Takes the next bytes, which are the writer's until the promise, if there is one, resolves: before that nothing more
   * may come. Throws UserError when they are more than were asked for, `source` being for people, and what writing threw.
   */
  take(sent: Uint8Array, source: string): Promise<void> | undefined {
    if (this.failure !== null) throw this.failure;
    const skipped = Math.min(this.skip, sent.length);
    this.skip -= skipped;
    if (this.at + sent.length - skipped > this.until)
      throw new UserError("the server sent more bytes than it said", { source, expected: this.until });
    return this.put(sent.subarray(skipped));
  }

  /** Writes what came last, and gives the blocks back. Rejects with what writing threw. */
  async end(): Promise<void> {
    this.order();
    // a caller that still waits with a chunk must not put it into a block that is used for something else by then
    this.failure ??= new Error("bytes came after the end of their transfer");
    try {
      await this.writing;
    } finally {
      spare.push(...this.blocks);
    }
  }

  private put(bytes: Uint8Array): Promise<void> | undefined {
    for (let from = 0; from < bytes.length;) {
      const room = this.room();
      if (room === null) return this.wait().then(() => this.put(bytes.subarray(from)));
      const some = bytes.subarray(from, from + room.length);
      // received right there, or not
      if (some.byteOffset !== room.byteOffset || some.buffer !== room.buffer) room.set(some);
      from += some.length;
      this.at += some.length;
      if (this.at % BLOCK_BYTES !== 0) continue;
      this.order();
      this.block = this.freeBlock();
    }
    if (this.block === null && this.at < this.until) return this.wait();
    if (performance.now() - this.orderedAt >= WAIT_MS) this.order();
    return undefined;
  }

  /** Begins to write the bytes that came since the last time. */
  private order(): void {
    const { block, ordered: start, at: end } = this;
    if (start === end || block === null) return;
    this.ordered = end;
    this.orderedAt = performance.now();
    const bytes = block.memory.subarray(start % BLOCK_BYTES, (start % BLOCK_BYTES) + end - start);
    const whole = this.inOrder && bytes.length === BLOCK_BYTES;
    const write = async (before: Promise<void>): Promise<void> => {
      try {
        await before;
        await this.file.write(bytes, start, whole);
        this.written = end;
        this.onProgress({ upTo: end, piece: null });
      } catch (error) {
        this.failure ??= error as Error;
        throw error;
      } finally {
        block.writes--;
      }
    };
    if (whole) {
      Atomics.store(block.held, 0, 1);
      this.onProgress({ upTo: this.written, piece: { start, bytes, held: block.held } });
    }
    block.writes++;
    block.written = this.writing = write(this.writing);
    // `take` and `end` throw it
    this.writing.catch(() => undefined);
  }

  /** A block that is not in use; null if all are in use and there may be no more. */
  private freeBlock(): Block | null {
    const at = this.blocks.findIndex(isFree);
    const block = at >= 0 ? this.blocks.splice(at, 1)[0]! : this.blocks.length < BLOCKS ? newBlock() : null;
    if (block !== null) this.blocks.push(block);
    return block;
  }

  private async wait(): Promise<void> {
    const oldest = this.blocks[0]!;
    await oldest.written;
    const released = Atomics.waitAsync(oldest.held, 0, 1);
    if (released.async) await released.value;
    if (this.failure !== null) throw this.failure;
    this.block = this.freeBlock();
  }
}
