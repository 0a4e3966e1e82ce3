import { CorruptError, UserError } from "../errors.js";

/** Reads the directory of a zip archive, Zip64 too, if its entries are stored without compression, as in torch's files. */

/** A stored entry of an archive. */
export interface ZipEntry {
  readonly name: string;
  readonly bytes: number;
  /** byte offset in the file of the entry's own header, which comes before its data */
  readonly header: number;
}

/** Where the central directory lies in the file, in bytes, and how many entries it lists. */
export interface ZipDirectory {
  readonly offset: number;
  readonly bytes: number;
  readonly entries: number;
}

/** Bytes at the end of a file that say where its directory is: the end record, the longest comment, Zip64's locator and record. */
export const ZIP_TAIL_BYTES = 22 + 0xffff + 20 + 56;
/** Bytes of an entry's own header, without its name and extra fields. */
export const ZIP_HEADER_BYTES = 30;

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const CENTRAL_BYTES = 46;
/** A torch file's directory takes about 100 bytes a tensor; a length above this limit is corrupt. */
const MAX_DIRECTORY_BYTES = 64 << 20;

/**
 * Finds the directory from the file's last bytes (ZIP_TAIL_BYTES, or all of a shorter file). Throws CorruptError naming the
 * file, `where`.
 */
export function findZipDirectory(tail: Uint8Array, fileBytes: number, where: string): ZipDirectory {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
  const start = fileBytes - tail.length;
  let end = tail.length - 22;
  while (end >= 0 && !(view.getUint32(end, true) === END && end + 22 + view.getUint16(end + 20, true) === tail.length)) end--;
  if (end < 0)
    throw new CorruptError("a zip archive has no end record: the file is truncated or not an archive", { file: where, bytes: fileBytes });
  let found = { entries: view.getUint16(end + 10, true), bytes: view.getUint32(end + 12, true), offset: view.getUint32(end + 16, true) };
  let limit = start + end;
  if (end >= 20 && view.getUint32(end - 20, true) === LOCATOR_64) {
    limit = wide(view, end - 12, where);
    const at = limit - start;
    if (at < 0 || at + 56 > end - 20 || view.getUint32(at, true) !== END_64)
      throw new CorruptError("a zip archive's Zip64 record is not where its locator says", { file: where, got: limit });
    found = { entries: wide(view, at + 32, where), bytes: wide(view, at + 40, where), offset: wide(view, at + 48, where) };
  }
  if (found.bytes > MAX_DIRECTORY_BYTES || found.offset + found.bytes > limit || found.entries * CENTRAL_BYTES > found.bytes)
    throw new CorruptError("a zip archive's directory does not fit its file", { file: where, ...found });
  return found;
}

/**
 * Entries by name, from the directory's bytes. Throws UserError if one is compressed or encrypted, CorruptError if one does
 * not fit its file.
 */
export function parseZipDirectory(bytes: Uint8Array, { entries: count, offset }: ZipDirectory, where: string): Map<string, ZipEntry> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + CENTRAL_BYTES > bytes.length || view.getUint32(at, true) !== CENTRAL)
      throw new CorruptError("a zip archive's directory is damaged", { file: where, entry: index });
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [number, number, number];
    const extra = at + CENTRAL_BYTES + nameBytes;
    const next = extra + extraBytes + commentBytes;
    if (next > bytes.length) throw new CorruptError("a zip archive's directory is damaged", { file: where, entry: index });
    const name = new TextDecoder().decode(bytes.subarray(at + CENTRAL_BYTES, extra));
    if (view.getUint16(at + 10, true) !== 0 || (view.getUint16(at + 8, true) & 1) !== 0)
      throw new UserError("an archive's entry is compressed or encrypted, which torch never writes: save the file again with torch.save", {
        file: where,
        entry: name,
      });
    const sizes = { bytes: view.getUint32(at + 24, true), stored: view.getUint32(at + 20, true), header: view.getUint32(at + 42, true) };
    widen(sizes, view, extra, extra + extraBytes, where, name);
    if (sizes.bytes !== sizes.stored || sizes.header + ZIP_HEADER_BYTES + sizes.bytes > offset)
      throw new CorruptError("an archive's entry does not fit its file", { file: where, entry: name, ...sizes });
    if (entries.has(name)) throw new CorruptError("an archive names an entry twice", { file: where, entry: name });
    entries.set(name, { name, bytes: sizes.bytes, header: sizes.header });
    at = next;
  }
  return entries;
}

/** Byte offset of an entry's data, from the first ZIP_HEADER_BYTES of its own header. The data must end before the directory. */
export function zipDataOffset(header: Uint8Array, entry: ZipEntry, { offset }: ZipDirectory, where: string): number {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  if (view.getUint32(0, true) !== LOCAL)
    throw new CorruptError("an archive's entry has no header where the directory says", { file: where, entry: entry.name });
  const data = entry.header + ZIP_HEADER_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (data + entry.bytes > offset)
    throw new CorruptError("an archive's entry does not fit its file", { file: where, entry: entry.name, bytes: entry.bytes });
  return data;
}

/** Replaces the numbers that 32 bits cannot hold by Zip64's, which come in a fixed order. */
function widen(
  sizes: { bytes: number; stored: number; header: number },
  view: DataView,
  from: number,
  to: number,
  where: string,
  entry: string,
): void {
  const wanted = (["bytes", "stored", "header"] as const).filter((field) => sizes[field] === 0xffffffff);
  if (wanted.length === 0) return;
  for (let at = from; at + 4 <= to; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 1) continue;
    const end = at + 4 + view.getUint16(at + 2, true);
    if (end > to || at + 4 + 8 * wanted.length > end) break;
    for (const [index, field] of wanted.entries()) sizes[field] = wide(view, at + 4 + 8 * index, where);
    return;
  }
  throw new CorruptError("an archive's entry lacks its Zip64 sizes", { file: where, entry });
}

/** A 64-bit number. One that a double cannot hold is not the size of a file. */
function wide(view: DataView, at: number, where: string): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new CorruptError("a zip archive holds an impossible size", { file: where, got: value.toString() });
  return Number(value);
}
