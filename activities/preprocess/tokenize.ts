import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { lossTokens } from "../../core/rows/labels.js";
import type { RowRule } from "../../core/rows/row-rules.js";
import { decodeChunk, encodeChunk } from "../../core/format/token-chunk.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import type { SourceRow } from "../../infra/dataset/row.js";
import { openRule, type RuleChoice } from "./open-rule.js";

/** Rows to be made a chunk file of, unless it is there. */
export interface ChunkOrder {
  readonly number: number;
  /** index of the first row in the source */
  readonly first: number;
  readonly rows: readonly SourceRow[];
}

/** A chunk file that is whole, and what the figures need of its rows. */
export interface MadeChunk {
  readonly number: number;
  readonly record: ChunkRecord;
  /** rows that were made tokens just now: 0 when the file was there */
  readonly tokenized: number;
  /** [kept] tokens of each row */
  readonly lengths: Int32Array;
  /** [kept] those of them that carry loss */
  readonly losses: Int32Array;
  /** [kept x 16] the first bytes of the SHA-256 of each row's tokens */
  readonly digests: Uint8Array;
}

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
  readonly withoutLoss: number;
  readonly rejects: readonly RejectedRow[];
  /** the first row that the settings do not fit; null: there is none */
  readonly refused: RejectedRow | null;
}

/** A row of the source, and why it is set aside. */
export interface RejectedRow {
  readonly row: number;
  readonly reason: string;
}

/** Bytes of a row's digest that tell it from all others. */
export const DIGEST_BYTES = 16;

/** A thread's work: chunk files of rows, by a rule that it is told before the first rows. */
export interface Tokenizer {
  agree(this: void, rule: RuleChoice): void;
  /** Makes a chunk file and then its record in the stage's directory; finished ones are kept. Another one may be made while this one is written. */
  make(this: void, order: ChunkOrder): Promise<MadeChunk>;
}

/** Tokenizes into a stage's directory. */
export function tokenizer(directory: string): Tokenizer {
  let rule: RowRule;
  return { agree: (choice) => void (rule = openRule(choice)), make: (order) => makeChunk(directory, rule, order) };
}

async function makeChunk(directory: string, rule: RowRule, { number, first, rows }: ChunkOrder): Promise<MadeChunk> {
  const name = String(number).padStart(6, "0");
  const file = `${name}.safetensors`;
  const recordPath = join(directory, "chunks", `${name}.json`);
  const path = join(directory, "tokens", file);
  const finished = await finishedChunk(recordPath, path);
  if (finished !== null) return { number, record: finished.record, tokenized: 0, ...measure(finished.bytes, file) };
  const { bytes, ...counts } = tokenizeRows(rows, first, rule);
  const record = { file, sha256: sha256(bytes), bytes: bytes.length, ...counts };
  await writeFileAtomic(path, bytes);
  await writeFileAtomic(recordPath, JSON.stringify(record));
  return { number, record, tokenized: rows.length, ...measure(bytes, file) };
}

function tokenizeRows(
  rows: readonly SourceRow[],
  first: number,
  rule: RowRule,
): { bytes: Uint8Array } & Omit<ChunkRecord, "file" | "sha256" | "bytes"> {
  let [kept, dropped, truncated, withoutLoss] = [0, 0, 0, 0];
  const rejects: RejectedRow[] = [];
  let refused: RejectedRow | null = null;
  // one row at a time: the next one's tokens take the place of the last one's
  function* keptRows() {
    for (const [index, source] of rows.entries()) {
      const row = first + index;
      const outcome = "problem" in source ? ({ kind: "rejected", reason: source.problem } as const) : rule(source.fields);
      if (outcome.kind === "kept") {
        yield { source: row, inputIds: outcome.inputIds, labels: outcome.labels };
        kept++;
        if (outcome.truncated) truncated++;
      } else if (outcome.kind === "dropped") dropped++;
      else if (outcome.kind === "withoutLoss") withoutLoss++;
      else if (outcome.kind === "rejected") rejects.push({ row, reason: outcome.reason });
      else if (outcome.kind === "refused") refused ??= { row, reason: outcome.reason };
    }
  }
  const bytes = encodeChunk(keptRows());
  return { bytes, rows: rows.length, kept, dropped, truncated, withoutLoss, rejects, refused };
}

function measure(bytes: Uint8Array, file: string): Pick<MadeChunk, "lengths" | "losses" | "digests"> {
  const rows = decodeChunk(bytes, file);
  const digests = new Uint8Array(rows.length * DIGEST_BYTES);
  for (const [at, { inputIds }] of rows.entries())
    digests.set(createHash("sha256").update(inputIds).digest().subarray(0, DIGEST_BYTES), at * DIGEST_BYTES);
  return {
    lengths: Int32Array.from(rows, ({ inputIds }) => inputIds.length),
    losses: Int32Array.from(rows, ({ labels }) => lossTokens(labels)),
    digests,
  };
}

/** A chunk's record and file when both are whole; null when it has to be made. */
async function finishedChunk(
  recordPath: string,
  path: string,
): Promise<{ readonly record: ChunkRecord; readonly bytes: Uint8Array } | null> {
  try {
    const record = JSON.parse(await readFile(recordPath, "utf8")) as ChunkRecord;
    const bytes = await readFile(path);
    return sha256(bytes) === record.sha256 ? { record, bytes } : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return null;
    throw error;
  }
}
