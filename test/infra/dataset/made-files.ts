import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { messageOf, UserError } from "../../../core/errors.js";
import { COLUMNS } from "../../../core/rows/row-rules.js";
import type { SourceRow } from "../../../infra/dataset/row.js";
import { readRows } from "../../../infra/dataset/rows.js";

/** What was read of a dataset, all batches together. */
export interface Read {
  readonly rows: SourceRow[];
  readonly columns: string[];
  readonly filled: string[];
}

/** A directory for a test file's data files, gone after its tests. */
export function madeFiles(): (name: string, content: string | Uint8Array) => string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-rows-"));
  after(() => rmSync(directory, { recursive: true }));
  return (name, content) => {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
}

/** A file of test/reference. */
export function referenceFile(name: string): string {
  return new URL(`../../../../test/reference/${name}`, import.meta.url).pathname;
}

/** Reads a dataset whole. The share read grows to 1. */
export async function readAll(path: string, columns: readonly string[] = COLUMNS): Promise<Read> {
  const rows: SourceRow[] = [];
  const [names, filled] = [new Set<string>(), new Set<string>()];
  let read = 0;
  for await (const batch of readRows(path, new AbortController().signal, columns)) {
    rows.push(...batch.rows);
    for (const name of batch.columns) names.add(name);
    for (const name of batch.filled) filled.add(name);
    assert.ok(batch.read >= read && batch.read > 0 && batch.read <= 1, `${batch.read} after ${read}`);
    read = batch.read;
  }
  assert.equal(read, 1);
  return { rows, columns: [...names], filled: [...filled] };
}

/** The fields of a dataset's rows; every row must be a good one. */
export async function fieldsOf(path: string, columns: readonly string[] = COLUMNS): Promise<Readonly<Record<string, unknown>>[]> {
  return (await readAll(path, columns)).rows.map((row) => {
    assert.ok("fields" in row, JSON.stringify(row));
    return row.fields;
  });
}

/** Reading must end with one UserError that has these words. */
export async function fails(path: string, words: readonly string[], columns: readonly string[] = COLUMNS): Promise<void> {
  await assert.rejects(readAll(path, columns), (error: Error) => {
    assert.ok(error instanceof UserError, error.stack);
    for (const word of words) assert.ok(messageOf(error).includes(word), `${messageOf(error)} lacks ${word}`);
    return true;
  });
}

/** A Zstandard frame whose blocks are not compressed: Node 20 has no compressor. */
export function zstdFrame(content: Uint8Array): Buffer {
  const blocks: Buffer[] = [];
  const BLOCK = 100_000;
  for (let at = 0; at === 0 || at < content.length; at += BLOCK) {
    const block = content.subarray(at, at + BLOCK);
    const head = Buffer.alloc(3);
    head.writeUIntLE((block.length << 3) | (at + BLOCK >= content.length ? 1 : 0), 0, 3);
    blocks.push(head, Buffer.from(block));
  }
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0]);
  header.writeUInt32LE(content.length, 5);
  return Buffer.concat([header, ...blocks]);
}
