import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { RowRule } from "../../core/data/row-rules.js";
import { encodeChunk } from "../../core/format/token-shards.js";
import type { RowBatch, SourceRow } from "../../infra/dataset/row.js";
import type { StageContext } from "../stage.js";
import type { PreprocessDependencies } from "./index.js";

/** Rows of the source that one file holds: what a kill can cost. */
const CHUNK_ROWS = 4096;
/** Milliseconds of work after which the event loop gets its turn, so that heartbeats leave. */
const WORK_MS = 25;
const REPORT_MS = 500;

/** What a finished chunk file holds, and what became of the rows that it doesn't. */
export interface ChunkRecord {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  /** of the source */
  readonly rows: number;
  readonly kept: number;
  readonly dropped: number;
  readonly truncated: number;
  readonly rejects: readonly { readonly row: number; readonly reason: string }[];
}

interface SourceChunk {
  readonly number: number;
  readonly rows: readonly SourceRow[];
  /** share of the source read so far */
  readonly read: number;
}

/** Writes a chunk file and then its record for every CHUNK_ROWS rows of the source; finished chunks are kept as they are. */
export async function tokenizeChunks(
  dependencies: PreprocessDependencies,
  directory: string,
  batches: AsyncIterable<RowBatch>,
  context: StageContext,
  chooseRule: (first: RowBatch) => Promise<RowRule>,
): Promise<{ readonly records: readonly ChunkRecord[]; readonly tokenized: number }> {
  const records: ChunkRecord[] = [];
  let rule: RowRule | undefined;
  let tokenized = 0;
  const turn = turnTaker(context.signal);
  const report = reporter(context);
  for await (const chunk of chunked(batches, async (first) => void (rule = await chooseRule(first)))) {
    const name = String(chunk.number).padStart(6, "0");
    const recordPath = join(directory, "chunks", `${name}.json`);
    let record = await finishedChunk(recordPath, join(directory, "tokens"));
    if (record === null) {
      const first = chunk.number * CHUNK_ROWS;
      const { bytes, ...counts } = await tokenizeRows(chunk.rows, first, rule!, turn);
      record = { file: `${name}.safetensors`, sha256: sha256(bytes), bytes: bytes.length, ...counts };
      await dependencies.files.writeFileAtomic(join(directory, "tokens", record.file), bytes);
      await dependencies.files.writeFileAtomic(recordPath, JSON.stringify(record));
      tokenized += chunk.rows.length;
    }
    records.push(record);
    report(chunk.number * CHUNK_ROWS + chunk.rows.length, chunk.read);
    context.signal.throwIfAborted();
  }
  return { records, tokenized };
}

async function tokenizeRows(
  rows: readonly SourceRow[],
  first: number,
  rule: RowRule,
  turn: () => Promise<void>,
): Promise<{ bytes: Uint8Array } & Omit<ChunkRecord, "file" | "sha256" | "bytes">> {
  const kept = [];
  const rejects = [];
  let dropped = 0;
  let truncated = 0;
  for (const [index, source] of rows.entries()) {
    const row = first + index;
    const outcome = "problem" in source ? ({ kind: "rejected", reason: source.problem } as const) : rule(source.fields);
    if (outcome.kind === "kept") {
      kept.push({ source: row, inputIds: outcome.inputIds, labels: outcome.labels });
      if (outcome.truncated) truncated++;
    } else if (outcome.kind === "dropped") dropped++;
    else rejects.push({ row, reason: outcome.reason });
    await turn();
  }
  return { bytes: encodeChunk(kept), rows: rows.length, kept: kept.length, dropped, truncated, rejects };
}

/** Rows regrouped into chunks of a fixed size, whatever the batches; `begin` sees the first batch that has rows before all. */
async function* chunked(batches: AsyncIterable<RowBatch>, begin: (first: RowBatch) => Promise<void>): AsyncGenerator<SourceChunk> {
  let held: SourceRow[] = [];
  let number = 0;
  let begun = false;
  let last: RowBatch = { rows: [], columns: [], read: 1 };
  for await (const batch of batches) {
    last = batch;
    if (!begun && batch.rows.length > 0) {
      await begin(batch);
      begun = true;
    }
    held = held.concat(batch.rows);
    for (; held.length >= CHUNK_ROWS; held = held.slice(CHUNK_ROWS))
      yield { number: number++, rows: held.slice(0, CHUNK_ROWS), read: batch.read };
  }
  if (!begun) await begin(last);
  if (held.length > 0) yield { number, rows: held, read: 1 };
}

/** A chunk's record when it and its file are whole; null when it has to be made. */
async function finishedChunk(recordPath: string, tokens: string): Promise<ChunkRecord | null> {
  try {
    const record = JSON.parse(await readFile(recordPath, "utf8")) as ChunkRecord;
    return sha256(await readFile(join(tokens, record.file))) === record.sha256 ? record : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** To be awaited after each row: lets the event loop have its turn when it is due, and throws when aborted. */
function turnTaker(signal: AbortSignal): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < WORK_MS) return;
    await setImmediate();
    signal.throwIfAborted();
    last = performance.now();
  };
}

function reporter(context: StageContext): (done: number, read: number) => void {
  let last = -REPORT_MS;
  return (done, read) => {
    if (performance.now() - last < REPORT_MS && read < 1) return;
    last = performance.now();
    context.progress({ stage: "preprocess", done, total: Math.round(done / read), unit: "rows" });
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
