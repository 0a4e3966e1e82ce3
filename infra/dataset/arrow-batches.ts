import { createReadStream, type ReadStream } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { CompressionType, compressionRegistry, RecordBatchReader, type RecordBatch } from "apache-arrow";
import { UserError } from "../../core/errors.js";
import { arrowGetter } from "./arrow-values.js";
import { unpackLz4Frame } from "./lz4-frame.js";
import { columnsOf, hasContent, type FileBatch } from "./row.js";
import { ZstdFrames } from "./zstd-frames.js";

/** Rows that are handed on at a time. */
const SLICE_ROWS = 4096;
/** What the file format begins and ends with. */
const FILE_MARK = "ARROW1";
/** What the stream format ends with, of today and of the first versions. */
const STREAM_ENDS = ["ffffffff00000000", "00000000"];

/** Reads an Arrow file's record batches in slices, only the named columns; of the others it says which have content. */
export async function* readRecordBatches(path: string, named: readonly string[]): AsyncGenerator<FileBatch> {
  for (const [type, unpack] of CODECS) compressionRegistry.set(type, { decode: unpack });
  const handle = await open(path, "r");
  let stream: ReadStream | null = null;
  try {
    const isFile = await checkEnds(handle, path);
    const { size } = await handle.stat();
    if (!isFile) stream = createReadStream(path, { highWaterMark: 1 << 18 });
    const reader = await (stream === null ? RecordBatchReader.from(handle) : RecordBatchReader.from(stream)).then((made) => made.open());
    const columns = reader.schema.fields.map(({ name }) => name);
    const filled = new Set<string>();
    let done = 0;
    for await (const batch of reader as AsyncIterable<RecordBatch>) {
      done++;
      const read = stream === null ? done / reader.numRecordBatches : Math.min(1, stream.bytesRead / size);
      for (const slice of slicesOf(batch, columns, named, filled)) yield { ...slice, columns, read };
    }
    if (isFile && done < reader.numRecordBatches && !(done === 0 && reader.numRecordBatches === 0))
      throw new Error(`expected ${reader.numRecordBatches} record batches, got ${done}`);
    yield { rows: [], columns, filled: [], read: 1 };
  } catch (error) {
    if (error instanceof UserError || (error as NodeJS.ErrnoException).syscall !== undefined) throw error;
    throw new UserError("a data file is not a whole Arrow file", { file: path }, { cause: error });
  } finally {
    stream?.destroy();
    await handle.close().catch(() => undefined);
  }
}

/** A batch's rows. A batch's other columns that have content join `filled`. */
function* slicesOf(
  batch: RecordBatch,
  columns: readonly string[],
  named: readonly string[],
  filled: Set<string>,
): Generator<Pick<FileBatch, "rows" | "filled">> {
  const getters = columns.map((name, at) => {
    const data = batch.data.children[at]!;
    if (data.length !== batch.numRows) throw new Error(`column ${name} has ${data.length} values in ${batch.numRows} rows`);
    return { name, get: arrowGetter(data) };
  });
  const wanted = getters.filter(({ name }) => named.includes(name));
  for (const { name, get } of getters) {
    if (filled.has(name) || named.includes(name)) continue;
    for (let row = 0; row < batch.numRows; row++)
      if (hasContent(get(row))) {
        filled.add(name);
        break;
      }
  }
  for (let start = 0; start < batch.numRows; start += SLICE_ROWS) {
    const rows = Array.from({ length: Math.min(SLICE_ROWS, batch.numRows - start) }, (_, at) => ({
      fields: Object.fromEntries(wanted.map(({ name, get }) => [name, get(start + at)])),
    }));
    yield { rows, filled: [...columnsOf(rows).filled, ...filled] };
  }
}

/** Whether a file is of the file format. Throws UserError if its end is missing: by itself the library takes a cut file for a short one. */
async function checkEnds(handle: FileHandle, path: string): Promise<boolean> {
  const { size } = await handle.stat();
  const bytesAt = async (position: number, length: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, Math.max(0, position));
    return buffer.subarray(0, bytesRead);
  };
  const isFile = (await bytesAt(0, 6)).toString("latin1") === FILE_MARK;
  const tail = await bytesAt(size - 8, 8);
  const isWhole = isFile
    ? tail.subarray(2).toString("latin1") === FILE_MARK
    : STREAM_ENDS.some((end) => tail.toString("hex").endsWith(end));
  if (!isWhole)
    throw new UserError("a data file is not a whole Arrow file: its end is missing, so it was cut", { file: path, bytes: size });
  return isFile;
}

const CODECS: readonly (readonly [CompressionType, (bytes: Uint8Array) => Uint8Array])[] = [
  [CompressionType.LZ4_FRAME, unpackLz4],
  [CompressionType.ZSTD, unpackZstd],
];

/** The library gives a column's bytes after their length, of which it knows the place alone. */
function unpackLz4(bytes: Uint8Array): Uint8Array {
  const length = new DataView(bytes.buffer, bytes.byteOffset - 8, 8).getBigInt64(0, true);
  return unpackLz4Frame(bytes, Number(length));
}

function unpackZstd(bytes: Uint8Array): Uint8Array {
  const frames = new ZstdFrames();
  frames.push(bytes);
  const pieces: Uint8Array[] = [];
  for (let piece = frames.pull(); piece !== null; piece = frames.pull()) pieces.push(piece);
  frames.end();
  // the library reads wide numbers at the start of the bytes' memory
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
