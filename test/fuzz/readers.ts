import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { parseGguf } from "../../core/format/gguf.js";
import { parseLatest } from "../../core/format/latest.js";
import { parseManifest } from "../../core/format/manifest.js";
import { headerLength, layoutFile, parseHeader } from "../../core/format/safetensors.js";
import { decodeChunk, encodeChunk } from "../../core/format/token-chunk.js";
import { parseTorchPickle } from "../../core/format/torch-pickle-tensors.js";
import { indexedFiles } from "../../core/format/weight-index.js";
import { findZipDirectory, parseZipDirectory, zipDataOffset, ZIP_HEADER_BYTES } from "../../core/format/zip.js";
import { COLUMNS } from "../../core/rows/row-rules.js";
import { readRows } from "../../infra/dataset/rows.js";
import { tokenizerOfFiles } from "../../infra/text/read-tokenizer.js";
import { archive, pickle, pickledTensor } from "../core/format/archive.js";
import { floats, gguf, value } from "../core/format/gguf-writer.js";

/** The readers of files that others made, each with inputs that it reads. */
export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** what is put into inputs */
  readonly words: readonly string[];
  read(input: Buffer): unknown;
}

const reference = (name: string): Buffer => readFileSync(new URL(`../../../test/reference/${name}`, import.meta.url));
const JSON_WORDS = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "null",
  "1e999",
  "-1",
  "NaN",
  '"\\ud800"',
  "\u0000",
  "9007199254740993",
  '{"__proto__":1}',
];

const ROWS = [
  { instruction: "say a", input: "", output: "a" },
  { instruction: 'say "b"', input: "x\ny", output: "b,b" },
];
const jsonRows = Buffer.from(JSON.stringify(ROWS));
const jsonLines = Buffer.from(ROWS.map((row) => `${JSON.stringify(row)}\n`).join(""));
const csv = Buffer.from('instruction,input,output\nsay a,,a\n"say ""b""","x\ny","b,b"\n');
const TOKENIZER = {
  version: "1.0",
  added_tokens: [{ id: 4, content: "<end>", special: true }],
  normalizer: { type: "NFC" },
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2, Ġ: 3, "<end>": 4 }, merges: ["a b"] },
};

/** Every target; data files go through `directory`. */
function targets(directory: string): Target[] {
  const tensors = layoutFile([
    { name: "a", dtype: "F32", shape: [2, 3] },
    { name: "b", dtype: "F16", shape: [4] },
  ]);
  const header = Buffer.from(tensors.header);
  const rows = (ending: string, seeds: readonly Uint8Array[], words: readonly string[] = []): Target => ({
    name: `rows ${ending}`,
    seeds,
    words,
    read: async (input) => {
      const path = join(directory, `rows${ending}`);
      writeFileSync(path, input);
      for await (const batch of readRows(path, new AbortController().signal, COLUMNS)) void batch.rows.length;
    },
  });
  const manifest = reference("../core/format/manifest-6.json");
  return [
    {
      name: "pickle",
      seeds: [pickle.whole(pickle.dictionary({ a: pickledTensor({}), b: pickledTensor({ shape: [], stride: [] }) }))],
      words: ["ctorch\nFloatStorage\n", "cos\nsystem\n", "(", "t", "R", ".", "\x80\x02", "}", "]", "b"],
      read: (input) => parseTorchPickle(input, new Map([["0", 24]]), "w.bin"),
    },
    {
      name: "zip",
      seeds: [
        archive([
          ["a/data.pkl", Buffer.from("abc")],
          ["a/data/0", Buffer.alloc(24)],
        ]),
      ],
      words: ["PK\x05\x06", "PK\x01\x02", "PK\x06\x06"],
      read: (input) => {
        const directory = findZipDirectory(input, input.length, "w.bin");
        const { offset, bytes } = directory;
        const entries = parseZipDirectory(input.subarray(offset, offset + bytes), directory, "w.bin");
        for (const entry of entries.values())
          zipDataOffset(input.subarray(entry.header, entry.header + ZIP_HEADER_BYTES), entry, directory, "w.bin");
      },
    },
    {
      name: "safetensors",
      seeds: [Buffer.concat([header, Buffer.alloc(tensors.fileBytes - header.length)])],
      words: JSON_WORDS,
      read: (input) => {
        const length = headerLength(input, "w.safetensors");
        return parseHeader(input.subarray(8, 8 + length), input.length, "w.safetensors");
      },
    },
    {
      name: "gguf",
      seeds: [gguf([["general.architecture", value.text("llama")]], [floats("a", [2, 3])])],
      words: ["GGUF"],
      read: (input) => parseGguf(input, input.length, "w.gguf"),
    },
    { name: "manifest", seeds: [manifest], words: JSON_WORDS, read: (input) => parseManifest(input.toString(), "manifest.json") },
    {
      name: "latest",
      seeds: [Buffer.from('{"name":"m-000000000000","manifest":{"sha256":"00"},"previous":null}')],
      words: JSON_WORDS,
      read: (input) => parseLatest(input.toString(), "latest.json"),
    },
    {
      name: "weight index",
      seeds: [Buffer.from('{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}')],
      words: [...JSON_WORDS, "../"],
      read: (input) => indexedFiles(input.toString(), "index.json"),
    },
    {
      name: "token chunk",
      seeds: [encodeChunk([{ source: 0, inputIds: [1, 2, 3], labels: [-100, 2, 3] }])],
      words: [],
      read: (input) => decodeChunk(Uint8Array.from(input), "chunk"),
    },
    {
      name: "tokenizer.json",
      seeds: [Buffer.from(JSON.stringify(TOKENIZER))],
      words: [...JSON_WORDS, '"type":"Replace"', "(?<=a)+", "Unigram", "WordPiece"],
      read: (input) => {
        const tokenizer = tokenizerOfFiles("m", ["tokenizer.json"], (name) => (name === "tokenizer.json" ? input.toString() : null));
        return tokenizer.encode("ab a b <end>");
      },
    },
    rows(".json", [jsonRows], JSON_WORDS),
    rows(".jsonl", [jsonLines, gzipSync(jsonLines), reference("rows/frames.jsonl.zst")], JSON_WORDS),
    rows(".csv", [csv], ['"', ",", "\n", "\r", "\ufeff"]),
    rows(".arrow", [reference("rows/batches.arrow"), reference("rows/feather-lz4.arrow")]),
    rows(".parquet", [reference("rows.parquet")], ["PAR1"]),
  ];
}

/** Calls `work` with every target and removes their files afterwards. */
export async function withTargets<T>(work: (all: readonly Target[]) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "roslin-fuzz-"));
  try {
    return await work(targets(directory));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
