import { Decompress } from "fzstd";
import { bytes as readable } from "../../core/units.js";
import { XxHash64 } from "./xxhash64.js";

/** The furthest that a frame may look back, in bytes; the zstd command's own limit, too. */
const MAX_WINDOW = 128 << 20;
/** The most bytes that a block makes. */
const MAX_BLOCK = 128 << 10;
const MAGIC = 0xfd2fb528;
/** Magic numbers of skippable frames are this one and the 15 after it. */
const SKIPPABLE = 0x184d2a50;

interface Frame {
  readonly decoder: Decompress;
  readonly hash: XxHash64 | null;
  /** bytes that the header promises; null: it does not say */
  readonly size: bigint | null;
  made: bigint;
}

/**
 * Unpacks Zstandard frames from bytes that come in pieces, one block at a time. fzstd decodes the blocks; what it leaves
 * unchecked is checked here: checksums, sizes, dictionaries, the window's limit. Errors say what is wrong with the frame.
 */
export class ZstdFrames {
  private input: Uint8Array = new Uint8Array();
  private frame: Frame | null = null;
  /** bytes of a skippable frame that are still to come */
  private skip = 0;
  private output: Uint8Array[] = [];
  /** the frame's header, until its first block has gone to the decoder with it */
  private header: Uint8Array = new Uint8Array();

  /** Takes the next bytes. */
  push(bytes: Uint8Array): void {
    this.input = this.input.length === 0 ? bytes : Buffer.concat([this.input, bytes]);
  }

  /** The next unpacked bytes, perhaps none; null: more input is needed. */
  pull(): Uint8Array | null {
    const skipped = Math.min(this.skip, this.input.length);
    this.skip -= skipped;
    this.input = this.input.subarray(skipped);
    if (this.skip > 0 || this.input.length === 0) return null;
    return this.frame === null ? this.begin() : this.block(this.frame);
  }

  /** Throws if the input ended inside a frame. */
  end(): void {
    if (this.frame !== null || this.skip > 0 || this.input.length > 0) throw new Error("unexpected end of file");
  }

  private begin(): Uint8Array | null {
    if (this.input.length < 5) return null;
    const view = new DataView(this.input.buffer, this.input.byteOffset, this.input.length);
    const magic = view.getUint32(0, true);
    if (magic >>> 4 === SKIPPABLE >>> 4) {
      if (this.input.length < 8) return null;
      this.skip = view.getUint32(4, true);
      this.input = this.input.subarray(8);
      return new Uint8Array();
    }
    if (magic !== MAGIC) throw new Error("there is something after its end that is not a frame");
    const flags = this.input[4]!;
    const isSingle = (flags & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][flags & 3]!;
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6]!;
    const sizeAt = 5 + (isSingle ? 0 : 1) + dictionaryBytes;
    if (this.input.length < sizeAt + sizeBytes) return null;
    if (this.input.subarray(sizeAt - dictionaryBytes, sizeAt).some((byte) => byte !== 0)) throw new Error("it needs a dictionary");
    const size =
      sizeBytes === 0
        ? null
        : sizeBytes === 1
          ? BigInt(this.input[sizeAt]!)
          : sizeBytes === 2
            ? BigInt(view.getUint16(sizeAt, true) + 256)
            : sizeBytes === 4
              ? BigInt(view.getUint32(sizeAt, true))
              : view.getBigUint64(sizeAt, true);
    const base = 2 ** (10 + (this.input[5]! >> 3));
    const window = isSingle ? Number(size) : base + (base / 8) * (this.input[5]! & 7);
    if (window > MAX_WINDOW)
      throw new Error(`it looks back ${readable(window)}, which is more than ${readable(MAX_WINDOW)}: pack it without --long`);
    const decoder = new Decompress((bytes) => void this.output.push(bytes));
    this.frame = { decoder, hash: (flags & 4) === 0 ? null : new XxHash64(), size, made: 0n };
    this.header = this.input.subarray(0, sizeAt + sizeBytes);
    this.input = this.input.subarray(sizeAt + sizeBytes);
    return new Uint8Array();
  }

  /** Gives the decoder one whole block, the last one with the checksum. */
  private block(frame: Frame): Uint8Array | null {
    if (this.input.length < 3) return null;
    const head = this.input[0]! | (this.input[1]! << 8) | (this.input[2]! << 16);
    const [isLast, type, size] = [(head & 1) === 1, (head >> 1) & 3, head >> 3];
    if (size > MAX_BLOCK) throw new Error(`a block of ${size} bytes is too long`);
    const blockBytes = 3 + (type === 1 ? 1 : size);
    const needed = blockBytes + (isLast && frame.hash !== null ? 4 : 0);
    if (this.input.length < needed) return null;
    const block = this.input.slice(0, needed);
    this.input = this.input.subarray(needed);
    frame.decoder.push(this.header.length > 0 ? Buffer.concat([this.header, block]) : block, isLast);
    this.header = new Uint8Array();
    const made = this.output.length === 1 ? this.output[0]! : Buffer.concat(this.output);
    this.output = [];
    frame.made += BigInt(made.length);
    frame.hash?.update(made);
    if (isLast) this.finish(frame, block.subarray(blockBytes));
    return made;
  }

  private finish(frame: Frame, checksum: Uint8Array): void {
    this.frame = null;
    if (frame.size !== null && frame.made !== frame.size) throw new Error(`a frame has ${frame.made} bytes instead of ${frame.size}`);
    if (frame.hash !== null && Buffer.from(checksum).readUInt32LE(0) !== frame.hash.low32()) throw new Error("its checksum is wrong");
  }
}
