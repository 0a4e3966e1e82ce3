import { open } from "node:fs/promises";
import { parquetMetadataAsync, parquetReadObjects, parquetSchema, type AsyncBuffer } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { COLUMNS } from "../../core/data/row-rules.js";
import { UserError } from "../../core/errors.js";
import type { RowBatch } from "./row.js";

/** hyparquet's own decoding of strings drops a leading U+FEFF. */
const parsers = {
  stringFromBytes: (bytes: Uint8Array | undefined) =>
    bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"),
};

/** Reads a Parquet file by row group, only the columns that matter. */
export async function* readParquet(path: string): AsyncGenerator<RowBatch> {
  const handle = await open(path, "r");
  try {
    const file = bufferOf(handle, (await handle.stat()).size);
    const metadata = await parquetMetadataAsync(file);
    const columns = parquetSchema(metadata).children.map((child) => child.element.name);
    const wanted = COLUMNS.filter((name) => columns.includes(name));
    const total = Number(metadata.num_rows);
    let rowStart = 0;
    if (wanted.length === 0 || total === 0) yield { rows: [], columns, read: 1 };
    else
      for (const group of metadata.row_groups) {
        const rowEnd = rowStart + Number(group.num_rows);
        const rows = await parquetReadObjects({ file, metadata, columns: wanted, rowStart, rowEnd, compressors, parsers });
        yield { rows: rows.map((fields) => ({ fields })), columns, read: rowEnd / total };
        rowStart = rowEnd;
      }
  } catch (error) {
    if (error instanceof UserError || (error as NodeJS.ErrnoException).syscall !== undefined) throw error;
    throw new UserError("a data file is not a whole Parquet file", { file: path }, { cause: error });
  } finally {
    await handle.close();
  }
}

function bufferOf(handle: Awaited<ReturnType<typeof open>>, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const bytes = new Uint8Array(end - start);
      for (let done = 0; done < bytes.length;) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
        if (bytesRead === 0) throw new Error(`the file ended at byte ${start + done}`);
        done += bytesRead;
      }
      return bytes.buffer;
    },
  };
}
