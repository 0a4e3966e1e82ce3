import type { Worker } from "node:worker_threads";
import { COLUMNS } from "../../core/rows/row-rules.js";
import { errorNamed } from "../../core/errors.js";
import type { RowBatch, SourceRow } from "../../infra/dataset/row.js";
import type { StageContext } from "../common/stage.js";
import type { RuleChoice } from "./rule.js";
import type { ChunkAnswer, ChunkOrder, MadeChunk, ThreadOrder } from "./tokenize.js";

/** What of the source one file holds at most: what a kill can cost, and what lies in memory, for each thread. Huge rows make for fewer. */
const CHUNK = { rows: 4096, characters: 32 << 20 };
/** Chunks that a thread has at a time: one that is computed, and one that is written or waits. */
const ORDERS = 2;
const REPORT_MS = 500;

/** Starts a thread that works as `tokenizeOrders` does. */
export type StartThread = () => Worker;

/** Makes a chunk file and its record of every few thousand rows of the source, in `threads` threads; chunks that are finished stay. */
export async function tokenizeChunks(
  batches: AsyncIterable<RowBatch>,
  context: StageContext,
  threads: number,
  chooseRule: (first: RowBatch) => Promise<RuleChoice>,
  startThread: StartThread,
): Promise<MadeChunk[]> {
  let pool: Pool | null = null;
  let [seen, read] = [0, 1];
  const report = reporter(context);
  try {
    const begin = async (first: RowBatch): Promise<void> => {
      // threads come up while the tokenizer is read
      pool = new Pool(
        threads,
        Math.ceil(first.rows.length / first.read / CHUNK.rows),
        startThread,
        (done) => report(done, seen, read),
        context.signal,
      );
      pool.agree(await chooseRule(first));
    };
    for await (const { read: share, ...order } of chunked(batches, begin)) {
      [seen, read] = [order.first + order.rows.length, share];
      await pool!.give(order);
    }
    return await pool!.all();
  } finally {
    await (pool as Pool | null)?.end();
  }
}

/** Only what rules look at goes to a thread. */
function slim(row: SourceRow): SourceRow {
  if ("problem" in row) return row;
  const fields: Record<string, unknown> = {};
  for (const name of COLUMNS) if (name in row.fields) fields[name] = shallow(row.fields[name]);
  return { fields };
}

/** What a rule says of a value, it says of its outermost type: a deep one may be too deep to be sent. */
function shallow(value: unknown): unknown {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  if (!Array.isArray(value)) return {};
  return value.some((item) => typeof item === "object") ? [null] : value;
}

function charactersOf(row: SourceRow): number {
  if ("problem" in row) return row.problem.length;
  return Object.values(row.fields).reduce<number>(
    (sum, value) => sum + ((value as { length?: number } | null | undefined)?.length ?? 0),
    0,
  );
}

/** Threads that take chunks as they have room for them. */
class Pool {
  /** rows of the source in finished chunks */
  private done = 0;
  private readonly hands: { readonly worker: Worker; orders: number }[] = [];
  private readonly made: MadeChunk[] = [];
  private given = 0;
  private rule: RuleChoice | null = null;
  private failure: Error | null = null;
  private wake: () => void = () => undefined;
  private readonly most: number;
  private readonly start: () => Worker;
  private readonly moved: (done: number) => void;
  private readonly signal: AbortSignal;
  private readonly aborted = (): void => this.wake();

  /** `chunks`: as many as there will be, about; further threads are started when they are needed. */
  constructor(threads: number, chunks: number, start: () => Worker, moved: (done: number) => void, signal: AbortSignal) {
    this.most = threads;
    this.start = start;
    this.moved = moved;
    this.signal = signal;
    signal.addEventListener("abort", this.aborted);
    for (let count = 0; count < Math.max(1, Math.min(threads, chunks)); count++) this.add();
  }

  /** Tells all threads, and those that will come, how rows become tokens. */
  agree(rule: RuleChoice): void {
    this.rule = rule;
    for (const { worker } of this.hands) tell(worker, { rule });
  }

  /** Hands a chunk to the thread with the least to do, when there is one with room. */
  async give(order: ChunkOrder): Promise<void> {
    for (;;) {
      if (this.hands.every(({ orders }) => orders > 0) && this.hands.length < this.most) this.add();
      const hand = this.hands.reduce((least, each) => (each.orders < least.orders ? each : least));
      if (hand.orders < ORDERS) {
        this.given++;
        hand.orders++;
        tell(hand.worker, order);
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
    if (this.rule !== null) tell(hand.worker, { rule: this.rule });
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

function tell(worker: Worker, order: ThreadOrder): void {
  worker.postMessage(order);
}

interface SourceChunk extends ChunkOrder {
  /** share of the source read so far */
  readonly read: number;
}

/** Rows regrouped into chunks that depend on the rows alone, whatever the batches; `begin` sees the first batch that has rows before all. */
async function* chunked(batches: AsyncIterable<RowBatch>, begin: (first: RowBatch) => Promise<void>): AsyncGenerator<SourceChunk> {
  let rows: SourceRow[] = [];
  let [number, first, characters] = [0, 0, 0];
  let begun = false;
  let last: RowBatch = { rows: [], columns: [], read: 1 };
  for await (const batch of batches) {
    last = batch;
    if (!begun && batch.rows.length > 0) {
      await begin(batch);
      begun = true;
    }
    for (const row of batch.rows) {
      const kept = slim(row);
      rows.push(kept);
      characters += charactersOf(kept);
      if (rows.length < CHUNK.rows && characters < CHUNK.characters) continue;
      yield { number: number++, first, rows, read: batch.read };
      first += rows.length;
      characters = 0;
      rows = [];
    }
  }
  if (!begun) await begin(last);
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
