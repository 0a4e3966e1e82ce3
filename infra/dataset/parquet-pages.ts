import { isUtf8 } from "node:buffer";
import { open } from "node:fs/promises";
import { parquetMetadataAsync, parquetReadObjects, parquetSchema, type AsyncBuffer, type FileMetaData, type RowGroup } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { UserError } from "../../core/errors.js";
import { contentByStatistics } from "./parquet-statistics.js";
import { plainValue } from "./plain-value.js";
import { columnsOf, hasContent, type FileBatch } from "./row.js";

/** hyparquet's own decoding of strings drops a leading U+FEFF, and takes any bytes for text. */
const stringFromBytes = (bytes: Uint8Array | undefined): string | Uint8Array | undefined =>
  bytes === undefined || !isUtf8(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
/** A column of JSON stays text, as Python has it. */
const parsers = { stringFromBytes, jsonFromBytes: stringFromBytes };

/** Rows of a row group that are read at a time, or fewer if they have more bytes than this: some writers put a million rows into one group. */
const SLICE = { rows: 1 << 15, bytes: 64 << 20 };

/** Reads a Parquet file in slices of its row groups, only the named columns; of the others it says which have content. */
export async function* readPages(path: string, named: readonly string[]): AsyncGenerator<FileBatch> {
  const handle = await open(path, "r");
  try {
    const file = bufferOf(handle, (await handle.stat()).size);
    const metadata = await parquetMetadataAsync(file, { parsers });
    const columns = parquetSchema(metadata).children.map((child) => child.element.name);
    const wanted = named.filter((name) => columns.includes(name));
    const others = columns.filter((name) => !wanted.includes(name));
    const filled = new Set<string>();
    const total = Number(metadata.num_rows);
    let groupStart = 0;
    for (const group of metadata.row_groups) {
      const groupEnd = groupStart + Number(group.num_rows);
      for (const name of others)
        if (!filled.has(name) && (await columnHasContent(file, metadata, group, name, groupStart, groupEnd))) filled.add(name);
      const size = Math.max(1, Math.min(SLICE.rows, Math.floor((SLICE.bytes * Number(group.num_rows)) / Number(group.total_byte_size))));
      for (let start = groupStart; start < groupEnd; start += size) {
        const end = Math.min(groupEnd, start + size);
        const rows = Array.from({ length: end - start }, (): Record<string, unknown> => ({}));
        for (const name of wanted)
          for (const [index, value] of (await readColumn(file, metadata, group, name, start, end)).entries()) rows[index]![name] = value;
        const made = rows.map((fields) => ({ fields }));
        yield { rows: made, columns, filled: [...columnsOf(made).filled, ...filled], read: end / total };
      }
      groupStart = groupEnd;
    }
    if (groupStart !== total) throw new Error(`expected ${total} rows, got ${groupStart}`);
    if (total === 0) yield { rows: [], columns, filled: [], read: 1 };
  } catch (error) {
    if (error instanceof UserError || (error as NodeJS.ErrnoException).syscall !== undefined) throw error;
    throw new UserError("a data file is not a whole Parquet file", { file: path }, { cause: error });
  } finally {
    await handle.close();
  }
}

/** Whether a column that is not read has content from row `start` to `end`, which are a row group: by its statistics, or else by its values. */
async function columnHasContent(
  file: AsyncBuffer,
  metadata: FileMetaData,
  group: RowGroup,
  name: string,
  start: number,
  end: number,
): Promise<boolean> {
  const known = contentByStatistics(group, name);
  if (known !== null) return known;
  // content comes early, as a rule
  for (let size = 256; start < end; start += size, size = Math.min(SLICE.rows, size * 16)) {
    const values = await readColumn(file, metadata, group, name, start, Math.min(end, start + size)).catch(() => null);
    // what cannot be read is there nevertheless
    if (values === null || values.some((value) => hasContent(value))) return true;
  }
  return false;
}

/** A column's values from row `start` to `end`, which lie in one row group. Columns are read one after the other: slices of all of them at once take more memory. */
async function readColumn(
  file: AsyncBuffer,
  metadata: FileMetaData,
  group: RowGroup,
  name: string,
  start: number,
  end: number,
): Promise<readonly unknown[]> {
  const leaves = group.columns.filter((chunk) => chunk.meta_data?.path_in_schema[0] === name);
  const options = { file, metadata, columns: [name], rowStart: start, rowEnd: end, useOffsetIndex: true, compressors, parsers };
  const rows = await parquetReadObjects(options);
  if (leaves.length === 0 || rows.length !== end - start)
    throw new Error(`expected ${end - start} values of ${name} from row ${start} on, got ${rows.length}`);
  const isText = leaves.length === 1 && leaves[0]!.meta_data!.type === "BYTE_ARRAY" && leaves[0]!.meta_data!.path_in_schema.length === 1;
  return rows.map((row) => (isText ? (row[name] ?? null) : plainValue(row[name])));
}

function bufferOf(handle: Awaited<ReturnType<typeof open>>, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    slice(start, end = byteLength) {
      const read = readAt(handle, byteLength, start, end);
      // a read ahead of need may never be awaited
      read.catch(() => undefined);
      return read;
    },
  };
}

async function readAt(handle: Awaited<ReturnType<typeof open>>, byteLength: number, start: number, end: number): Promise<ArrayBuffer> {
  // a damaged file may ask for any offset
  if (!(start >= 0 && start <= end && end <= byteLength))
    throw new Error(`the file has ${byteLength} bytes, and is asked for ${start} to ${end}`);
  const bytes = new Uint8Array(end - start);
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) throw new Error(`the file ended at byte ${start + done}`);
    done += bytesRead;
  }
  return bytes.buffer;
}
