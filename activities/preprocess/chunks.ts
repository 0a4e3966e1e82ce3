import type { Worker } from "node:worker_threads";
import { COLUMNS } from "../../core/data/row-rules.js";
import { errorNamed } from "../../core/errors.js";
import type { RowBatch, SourceRow } from "../../infra/dataset/row.js";
import type { StageContext } from "../stage.js";
import type { RuleChoice } from "./rule.js";
import type { ChunkAnswer, ChunkOrder, MadeChunk } from "./tokenize.js";

/** Rows of the source that one file holds: what a kill can cost, for each thread. */
const CHUNK_ROWS = 4096;
/** Chunks that a thread has at a time: one that is computed, and one that is written or waits. */
const ORDERS = 2;
const REPORT_MS = 500;

/** Starts a thread that works as `tokenizeOrders` does. */
export type StartThread = (rule: RuleChoice) => Worker;

/** Makes a chunk file and its record of every CHUNK_ROWS rows of the source, in `threads` threads; chunks that are finished stay. */
export async function tokenizeChunks(
  batches: AsyncIterable<RowBatch>,
  context: StageContext,
  threads: number,
  chooseRule: (first: RowBatch) => RuleChoice,
  startThread: StartThread,
): Promise<MadeChunk[]> {
  let pool: Pool | null = null;
  let [seen, read] = [0, 1];
  const report = reporter(context);
  try {
    const begin = (first: RowBatch): void => {
      const rule = chooseRule(first);
      pool = new Pool(
        threads,
        () => startThread(rule),
        (done) => report(done, seen, read),
        context.signal,
      );
    };
    for await (const { number, rows, read: share } of chunked(batches, begin)) {
      [seen, read] = [number * CHUNK_ROWS + rows.length, share];
      await pool!.give({ number, first: number * CHUNK_ROWS, rows: rows.map(slim) });
    }
    return await pool!.all();
  } finally {
    await (pool as Pool | null)?.end();
  }
}

/** Only what rules look at goes to a thread. */
function slim(row: SourceRow): SourceRow {
  if ("problem" in row) return row;
  const { fields } = row;
  return { fields: Object.fromEntries(COLUMNS.flatMap((name) => (name in fields ? [[name, fields[name]]] : []))) };
}

/** Threads that take chunks as they have room for them. */
class Pool {
  /** rows of the source in finished chunks */
  private done = 0;
  private readonly hands: { readonly worker: Worker; orders: number }[] = [];
  private readonly made: MadeChunk[] = [];
  private given = 0;
  private failure: Error | null = null;
  private wake: () => void = () => undefined;
  private readonly most: number;
  private readonly start: () => Worker;
  private readonly moved: (done: number) => void;
  private readonly signal: AbortSignal;
  private readonly aborted = (): void => this.wake();

  constructor(threads: number, start: () => Worker, moved: (done: number) => void, signal: AbortSignal) {
    this.most = threads;
    this.start = start;
    this.moved = moved;
    this.signal = signal;
    signal.addEventListener("abort", this.aborted);
    this.add();
  }

  /** Hands a chunk to the thread with the least to do, when there is one with room. */
  async give(order: ChunkOrder): Promise<void> {
    for (;;) {
      if (this.hands.every(({ orders }) => orders > 0) && this.hands.length < this.most) this.add();
      const hand = this.hands.reduce((least, each) => (each.orders < least.orders ? each : least));
      if (hand.orders < ORDERS) {
        this.given++;
        hand.orders++;
        hand.worker.postMessage(order);
        return;
      }
      await this.news();
    }
  }

  /** All chunks that were given, in order, when the last is made. */
  async all(): Promise<MadeChunk[]> {
    while (this.made.filter(Boolean).length < this.given) await this.news();
    this.check();
    return this.made;
  }

  async end(): Promise<void> {
    this.signal.removeEventListener("abort", this.aborted);
    await Promise.all(this.hands.map(({ worker }) => worker.terminate()));
  }

  private add(): void {
    const hand = { worker: this.start(), orders: 0 };
    this.hands.push(hand);
    hand.worker.on("message", (answer: ChunkAnswer) => {
      if (answer.kind === "failed") this.failure ??= errorNamed(answer.name, answer.message);
      else {
        hand.orders--;
        this.made[answer.chunk.number] = answer.chunk;
        this.moved((this.done += answer.chunk.record.rows));
      }
      this.wake();
    });
    hand.worker.on("error", (error) => {
      this.failure ??= error;
      this.wake();
    });
  }

  /** Resolves when a thread has said something; throws its failure, or the signal's reason. */
  private async news(): Promise<void> {
    this.check();
    await new Promise<void>((resolve) => void (this.wake = resolve));
    this.check();
  }

  private check(): void {
    this.signal.throwIfAborted();
    if (this.failure !== null) throw this.failure;
  }
}

interface SourceChunk {
  readonly number: number;
  readonly rows: readonly SourceRow[];
  /** share of the source read so far */
  readonly read: number;
}

/** Rows regrouped into chunks of a fixed size, whatever the batches; `begin` sees the first batch that has rows before all. */
async function* chunked(batches: AsyncIterable<RowBatch>, begin: (first: RowBatch) => void): AsyncGenerator<SourceChunk> {
  let held: SourceRow[] = [];
  let number = 0;
  let begun = false;
  let last: RowBatch = { rows: [], columns: [], read: 1 };
  for await (const batch of batches) {
    last = batch;
    if (!begun && batch.rows.length > 0) {
      begin(batch);
      begun = true;
    }
    held = held.concat(batch.rows);
    for (; held.length >= CHUNK_ROWS; held = held.slice(CHUNK_ROWS))
      yield { number: number++, rows: held.slice(0, CHUNK_ROWS), read: batch.read };
  }
  if (!begun) begin(last);
  if (held.length > 0) yield { number, rows: held, read: 1 };
}

function reporter(context: StageContext): (done: number, seen: number, read: number) => void {
  let last = -REPORT_MS;
  return (done, seen, read) => {
    if (performance.now() - last < REPORT_MS && done < seen) return;
    last = performance.now();
    context.progress({ stage: "preprocess", done, total: Math.round(seen / read), unit: "rows" });
  };
}
