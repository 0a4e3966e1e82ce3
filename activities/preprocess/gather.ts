import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { binOf } from "../../core/rows/length-bins.js";
import { splitRows } from "../../core/rows/split.js";
import { UserError } from "../../core/errors.js";
import { TOKEN_INDEX, type TokenIndex } from "../../core/format/token-shards.js";
import type { TokenStats } from "../../core/stages/metrics.js";
import type { Artifact } from "../../core/stages/results.js";
import type { RunConfig } from "../../core/config/schema.js";
import { directoryDigest, sha256, writeFileAtomic } from "../../infra/disk/files.js";
import type { Stage } from "../common/stage.js";
import type { FileRows } from "./source-notes.js";
import { DIGEST_BYTES, type ChunkRecord, type MadeChunk } from "./tokenize.js";

/** Name of the file in the stage's directory that lists the source's files and how many rows each has. */
export const SOURCES = "sources.json";

/** Name of the file in the stage's directory with the rows that were rejected, and why. */
export const REJECTS = "rejects.jsonl";

/** Reasons that the message about too many bad rows quotes. */
const QUOTED = 3;

/** Judges the chunks, splits their rows and writes the index; throws UserError if there are too many bad rows or too few good ones. */
export async function finish(
  stage: Stage<"preprocess">,
  chunks: readonly MadeChunk[],
  files: readonly FileRows[],
  { testRows, maxRejectShare, seed }: RunConfig["preprocess"],
): Promise<{ readonly tokens: Artifact; readonly stats: TokenStats }> {
  const records = chunks.map(({ record }) => record);
  const { directory } = stage;
  const sum = (field: "rows" | "kept" | "dropped" | "truncated" | "withoutLoss"): number =>
    records.reduce((total, record) => total + record[field], 0);
  const rows = sum("rows");
  const kept = sum("kept");
  if (rows === 0) throw new UserError("the dataset has no rows", { dataset: stage.input("dataset").uri });
  const refused = records.find((record) => record.refused !== null)?.refused;
  if (refused != null) throw new UserError(refused.reason, { dataset: stage.input("dataset").uri, row: rowName(refused.row, files) });
  await setRejectsAside(directory, records, { rows, files }, maxRejectShare);
  const withoutLoss = sum("withoutLoss");
  if (kept === 0 && withoutLoss > 0)
    throw new UserError("no token of the training rows carries loss: every label is -100, or preprocess.maxLength cuts every answer away", {
      rows,
      withoutLoss,
    });
  if (kept === 0) throw new UserError("every row of the dataset has an empty response", { rows });
  if (testRows >= kept) throw new UserError("preprocess.testRows leaves no rows to train on: lower it", { testRows, rows: kept });

  const isTest = splitRows(kept, testRows, seed);
  const tokens = join(directory, "tokens");
  const measured = measure(chunks);
  const index: TokenIndex = {
    version: 1,
    inputs: { model: stage.input("model").sha256, dataset: stage.input("dataset").sha256 },
    chunks: records.map(({ file, sha256, bytes, kept: count }) => ({ file, sha256, bytes, rows: count })),
    test: [...isTest.keys()].filter((row) => isTest[row] === 1),
  };
  const text = JSON.stringify(index);
  await writeFileAtomic(join(tokens, TOKEN_INDEX), text);
  const chunkFiles = records.map((record) => record.file);
  await removeOthers(tokens, (name) => name === TOKEN_INDEX || chunkFiles.includes(name));
  await removeOthers(join(directory, "chunks"), (name) => name.endsWith(".json"));
  await writeFileAtomic(join(directory, SOURCES), JSON.stringify(files));
  await removeOthers(directory, (name) => !name.endsWith(".tmp"));
  const rejected = records.reduce((total, record) => total + record.rejects.length, 0);
  const counts = { dropped: sum("dropped"), rejected, truncated: sum("truncated"), withoutLoss };
  const stats = { rows, trainRows: kept - testRows, testRows, ...counts, ...measured };
  // each file was digested when it was written
  const digests = [...records.map(({ file, sha256 }) => ({ name: file, sha256 })), { name: TOKEN_INDEX, sha256: sha256(text) }];
  const bytes = records.reduce((total, record) => total + record.bytes, Buffer.byteLength(text));
  return { tokens: { name: "tokens", uri: pathToFileURL(tokens).href, sha256: directoryDigest(digests), bytes }, stats };
}

/** Writes the rejected rows; throws UserError if there are too many rejects. */
async function setRejectsAside(
  directory: string,
  records: readonly ChunkRecord[],
  { rows, files }: { readonly rows: number; readonly files: readonly FileRows[] },
  maxShare: number,
): Promise<void> {
  const rejects = records.flatMap((record) => record.rejects);
  const file = join(directory, REJECTS);
  await writeFileAtomic(file, rejects.map((reject) => `${JSON.stringify(reject)}\n`).join(""));
  const allBad = rejects.length > 0 && records.every((record) => record.kept === 0);
  if (rejects.length <= maxShare * rows && !allBad) return;
  const first = rejects.slice(0, QUOTED).map(({ row, reason }) => `row ${rowName(row, files)}: ${reason}`);
  throw new UserError(
    `too many rows of the dataset are bad; the first: ${first.join("; ")}. Correct them, or raise preprocess.maxRejectShare`,
    {
      bad: rejects.length,
      rows,
      maxRejectShare: maxShare,
      all: file,
    },
  );
}

/** A row of the source, 0-based, and where it is if the source has several files. */
function rowName(row: number, files: readonly FileRows[]): string {
  if (files.length < 2) return String(row);
  let first = 0;
  for (const { file, rows } of files) {
    if (row < first + rows) return `${row} (row ${row - first} of ${file})`;
    first += rows;
  }
  return String(row);
}

function measure(chunks: readonly MadeChunk[]): Pick<TokenStats, "duplicates" | "tokens" | "lossShare" | "lengths"> {
  const seen = new Set<string>();
  const bins = new Map<number, number>();
  let [rows, total, loss] = [0, 0, 0];
  for (const { lengths, losses, digests } of chunks) {
    const text = Buffer.from(digests.buffer, digests.byteOffset, digests.length).toString("latin1");
    for (const [at, length] of lengths.entries()) {
      const scored = losses[at]!;
      total += length;
      loss += scored;
      rows++;
      seen.add(text.slice(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES));
      const bin = binOf(length);
      bins.set(bin, (bins.get(bin) ?? 0) + 1);
    }
  }
  const lengths = Object.fromEntries([...bins].sort(([a], [b]) => a - b));
  return { duplicates: rows - seen.size, tokens: total, lossShare: loss / total, lengths };
}

/** Removes what a killed process left half written, because it would count in the directory's digest. */
async function removeOthers(directory: string, isKept: (name: string) => boolean): Promise<void> {
  for (const name of await readdir(directory)) if (!isKept(name)) await rm(join(directory, name), { recursive: true });
}
