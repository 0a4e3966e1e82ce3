/** Unpacks LZ4 frames, with which Arrow compresses its columns: the npm packages that do are unkept or lack linked blocks. */

const MAGIC = 0x184d2204;

/** Unpacks one LZ4 frame of `length` bytes. Throws if it is cut or damaged. */
export function unpackLz4Frame(frame: Uint8Array, length: number): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (view.getUint32(0, true) !== MAGIC) throw new Error("not an LZ4 frame");
  const flags = frame[4]!;
  if (flags >> 6 !== 1 || (flags & 1) !== 0) throw new Error("an LZ4 frame of an unknown kind");
  const [hasBlockChecksums, hasSize] = [(flags & 0x10) !== 0, (flags & 8) !== 0];
  const output = new Uint8Array(length);
  let written = 0;
  for (let at = 7 + (hasSize ? 8 : 0); ;) {
    const head = view.getUint32(at, true);
    at += 4;
    if (head === 0) break;
    const size = head & 0x7fffffff;
    if (at + size > frame.length) throw new Error("an LZ4 frame is cut");
    const block = frame.subarray(at, at + size);
    if (head >>> 31 === 1) {
      output.set(block, written);
      written += size;
    } else written = unpackBlock(block, output, written);
    at += size + (hasBlockChecksums ? 4 : 0);
  }
  if (written !== length) throw new Error(`an LZ4 frame has ${written} bytes instead of ${length}`);
  return output;
}

/** Unpacks a block after what is there already, which it may repeat; returns where it ends. */
function unpackBlock(block: Uint8Array, output: Uint8Array, written: number): number {
  let at = 0;
  const lengthOf = (nibble: number): number => {
    let length = nibble;
    for (let byte = nibble === 15 ? 255 : 0; byte === 255;) length += byte = block[at++]!;
    return length;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = lengthOf(token >> 4);
    if (!(at + literals <= block.length)) throw new Error("an LZ4 block is damaged");
    output.set(block.subarray(at, at + literals), written);
    written += literals;
    at += literals;
    if (at === block.length) break;
    const offset = block[at]! | (block[at + 1]! << 8);
    at += 2;
    const end = written + lengthOf(token & 15) + 4;
    if (offset === 0 || offset > written || !(end <= output.length)) throw new Error("an LZ4 block is damaged");
    if (offset >= end - written) {
      output.copyWithin(written, written - offset, end - offset);
      written = end;
    } else for (; written < end; written++) output[written] = output[written - offset]!;
  }
  return written;
}
