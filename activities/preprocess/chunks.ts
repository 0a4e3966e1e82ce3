import type { Worker } from "node:worker_threads";
import { readColumns } from "../../core/rows/row-reading.js";
import type { RowBatch, SourceRow } from "../../infra/dataset/row.js";
import { ThreadPool } from "../../infra/process/thread-pool.js";
import { Thread } from "../../infra/process/thread.js";
import type { StageContext } from "../common/stage.js";
import type { RuleChoice } from "./open-rule.js";
import type { ChunkOrder, MadeChunk } from "./tokenize.js";

/** What of the source one file holds at most: what a kill can cost, and what lies in memory, for each thread. Huge rows make for fewer. */
const CHUNK = { rows: 4096, characters: 32 << 20 };
/** Chunks that a thread has at a time: one that is computed, and one that is written or waits. */
const ORDERS = 2;
const REPORT_MS = 500;

/** Starts a thread that serves a `tokenizer`. */
export type StartThread = () => Worker;

/** Makes a chunk file and its record of every few thousand rows of the source, in `threads` threads; chunks that are finished stay. */
export async function tokenizeChunks(
  batches: AsyncIterable<RowBatch>,
  context: StageContext,
  threads: number,
  chooseRule: (first: RowBatch) => RuleChoice,
  startThread: StartThread,
): Promise<MadeChunk[]> {
  let pool: TokenizerPool | null = null;
  let [seen, read] = [0, 1];
  const report = reporter(context);
  try {
    const begin = (first: RowBatch): readonly string[] => {
      // threads come up while the tokenizer is read
      pool = new TokenizerPool(
        threads,
        Math.ceil(first.rows.length / first.read / CHUNK.rows),
        startThread,
        (done) => report(done, seen, read),
        context.signal,
      );
      const rule = chooseRule(first);
      pool.agree(rule);
      return readColumns(rule.reading);
    };
    for await (const { read: share, ...order } of chunked(batches, begin)) {
      [seen, read] = [order.first + order.rows.length, share];
      await pool!.give(order);
    }
    return await pool!.all();
  } finally {
    await (pool as TokenizerPool | null)?.end();
  }
}

/** Only what the rule looks at goes to a thread. */
function slim(row: SourceRow, columns: readonly string[]): SourceRow {
  if ("problem" in row) return row;
  const fields: Record<string, unknown> = {};
  for (const name of columns) if (name in row.fields) fields[name] = bounded(row.fields[name], DEPTH);
  return { fields };
}

/** Levels of a value that rules look at: messages, a message, its parts, a part. */
const DEPTH = 4;

/** A value without what lies deeper, because a deep one may be too deep to be sent. */
function bounded(value: unknown, levels: number): unknown {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) {
    if (!value.some((item) => typeof item === "object")) return value;
    return levels === 0 ? [true] : value.map((item) => bounded(item, levels - 1));
  }
  const entries = Object.entries(value);
  return levels === 0 ? { deeper: true } : Object.fromEntries(entries.map(([key, item]) => [key, bounded(item, levels - 1)]));
}

function charactersOf(row: SourceRow): number {
  if ("problem" in row) return row.problem.length;
  return Object.values(row.fields).reduce<number>((sum, value) => sum + sizeOf(value), 0);
}

/** Characters of a text, items of a list of numbers, both of what they contain. */
function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  if (Array.isArray(value) && typeof value[0] !== "object") return value.length;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  return Object.values(value).reduce<number>((sum, item) => sum + sizeOf(item), 0);
}

type TokenizerThread = Thread<ChunkOrder, MadeChunk, never, RuleChoice>;

/** Threads that take chunks as they have room for them. */
class TokenizerPool {
  /** rows of the source in finished chunks */
  private done = 0;
  private readonly pool: ThreadPool<ChunkOrder, MadeChunk, never, RuleChoice>;
  private readonly made: MadeChunk[] = [];
  private readonly running = new Set<Promise<void>>();
  private rule: RuleChoice | null = null;
  private failure: Error | null = null;
  private readonly moved: (done: number) => void;
  private readonly signal: AbortSignal;

  /** `chunks`: about as many as there will be; further threads start when they are needed. */
  constructor(threads: number, chunks: number, startThread: StartThread, moved: (done: number) => void, signal: AbortSignal) {
    this.moved = moved;
    this.signal = signal;
    this.pool = new ThreadPool(threads, () => {
      const thread: TokenizerThread = new Thread(startThread(), { signal, end: "a thread that makes tokens ended" });
      if (this.rule !== null) thread.tell(this.rule);
      return thread;
    });
    this.pool.start(Math.max(1, chunks));
  }

  /** Tells all threads, and those that start later, how rows become tokens. */
  agree(rule: RuleChoice): void {
    this.rule = rule;
    for (const { thread } of this.pool.threads) thread.tell(rule);
  }

  /** Hands a chunk to the thread with the least to do, when there is one with room. */
  async give(order: ChunkOrder): Promise<void> {
    this.check();
    while (this.pool.freest().load >= ORDERS) {
      await Promise.race(this.running);
      this.check();
    }
    const making = this.pool
      .ask(this.pool.freest(), order, 1)
      .then(
        (chunk) => {
          this.made[chunk.number] = chunk;
          this.moved((this.done += chunk.record.rows));
        },
        (error: unknown) => void (this.failure ??= error as Error),
      )
      .finally(() => this.running.delete(making));
    this.running.add(making);
  }

  /** All chunks that were given, in order, when the last is made. */
  async all(): Promise<MadeChunk[]> {
    while (this.running.size > 0 && this.failure === null) await Promise.race(this.running);
    this.check();
    return this.made;
  }

  async end(): Promise<void> {
    await this.pool.end();
  }

  private check(): void {
    this.signal.throwIfAborted();
    if (this.failure !== null) throw this.failure;
  }
}

interface SourceChunk extends ChunkOrder {
  /** share of the source read so far */
  readonly read: number;
}

/** Rows regrouped into chunks that depend on the rows alone, whatever the batches; `begin` sees the first batch that has rows before all, and says which columns count. */
async function* chunked(batches: AsyncIterable<RowBatch>, begin: (first: RowBatch) => readonly string[]): AsyncGenerator<SourceChunk> {
  let rows: SourceRow[] = [];
  let [number, first, characters] = [0, 0, 0];
  let columns: readonly string[] | null = null;
  let last: RowBatch = { rows: [], columns: [], filled: [], file: "", read: 1 };
  for await (const batch of batches) {
    last = batch;
    if (batch.rows.length > 0) columns ??= begin(batch);
    for (const row of batch.rows) {
      const kept = slim(row, columns!);
      rows.push(kept);
      characters += charactersOf(kept);
      if (rows.length < CHUNK.rows && characters < CHUNK.characters) continue;
      yield { number: number++, first, rows, read: batch.read };
      first += rows.length;
      characters = 0;
      rows = [];
    }
  }
  if (columns === null) begin(last);
  if (rows.length > 0) yield { number, first, rows, read: 1 };
}

function reporter(context: StageContext): (done: number, seen: number, read: number) => void {
  let last = -REPORT_MS;
  return (done, seen, read) => {
    if (performance.now() - last < REPORT_MS && done < seen) return;
    last = performance.now();
    context.progress({ stage: "preprocess", done, total: Math.round(seen / read), unit: "rows" });
  };
}
