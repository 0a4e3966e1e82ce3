import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { elements } from "../../../core/graph/tensor.js";
import { TorchFile } from "../../../infra/weights/torch-file.js";
import { archive, archiveParts, pickle, pickledTensor, type Entry } from "../../core/format/archive.js";

/**
 * Files of reference/pickles were written by torch 2.15. odd: tensors of each float dtype, two that share a storage, a
 * parameter, transposed, permuted, strided, expanded, scalar and empty ones, with their values. module: a module's state with
 * its metadata, a mask and a counter. The others hold what must be refused.
 */
const PICKLES = new URL("../../../../test/reference/pickles/", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "roslin-torch-"));
after(() => rmSync(work, { recursive: true }));

function read(file: TorchFile, name: string): Float32Array {
  const values = new Float32Array(elements(file.entries.get(name)!.shape));
  file.readFloats(name, 0, values);
  return values;
}

function open(bytes: Uint8Array): TorchFile {
  const path = join(work, "w.bin");
  writeFileSync(path, bytes);
  return new TorchFile(path);
}

for (const name of ["odd.bin", "odd-protocol-4.bin"])
  test(`${name}: every kind of tensor has torch's values, whole and from any element on`, () => {
    const file = new TorchFile(join(PICKLES, name));
    const expected = JSON.parse(readFileSync(join(PICKLES, "odd.json"), "utf8")) as Record<string, { shape: number[]; values: number[] }>;
    assert.deepEqual([...file.entries.keys()], Object.keys(expected));
    for (const [tensor, { shape, values }] of Object.entries(expected)) {
      assert.deepEqual(file.entries.get(tensor)!.shape, shape, tensor);
      assert.deepEqual([...read(file, tensor)], values, tensor);
      for (let first = 0; first < values.length; first++) {
        const part = new Float32Array(Math.min(3, values.length - first));
        file.readFloats(tensor, first, part);
        assert.deepEqual([...part], values.slice(first, first + 3), `${tensor} from ${first}`);
      }
      assert.throws(() => file.readFloats(tensor, values.length, new Float32Array(1)), RangeError);
    }
    file.close();
  });

test("a module's state is read, its counters and masks only named", () => {
  const file = new TorchFile(join(PICKLES, "module.bin"));
  const expected = JSON.parse(readFileSync(join(PICKLES, "module.json"), "utf8")) as Record<string, number[]>;
  for (const [name, values] of Object.entries(expected)) assert.deepEqual([...read(file, name)], values);
  assert.equal(file.entries.get("mask")!.dtype, "BOOL");
  assert.throws(() => read(file, "count"), { name: "UserError", message: /not trained.*tensor=count.*got=I64/ });
  file.close();
});

const refused: [string, RegExp][] = [
  ["system-protocol-0.bin", /not read any further.*operation=/],
  ["system-protocol-2.bin", /global=posix\.system/],
  ["system-protocol-4.bin", /global=posix\.system/],
  ["eval.bin", /global=__builtin__\.eval/],
  ["sparse.bin", /global=torch\._utils\._rebuild_sparse_tensor/],
  ["checkpoint.bin", /operation=EMPTY_LIST/],
  ["legacy.bin", /torch before 1\.6/],
];
for (const [name, expected] of refused)
  test(`${name} is refused`, () => assert.throws(() => new TorchFile(join(PICKLES, name)), { name: "UserError", message: expected }));

const data = Buffer.from(Float32Array.from([1, 2, 3, 4, 5, 6]).buffer);
const described = pickle.whole(pickle.dictionary({ a: pickledTensor() }));
const pkl = ["m/data.pkl", described] as const;
const storage = ["m/data/0", data] as const;

test("files above 4 GB, whose sizes take 64 bits, are read in the same way", () => {
  const file = open(archive([pkl, ["m/byteorder", Buffer.from("little")], storage], { zip64: true }));
  assert.deepEqual([...read(file, "a")], [1, 2, 3, 4, 5, 6]);
  file.close();
});

const wrong: [string, Uint8Array, string, RegExp][] = [
  ["an archive without a pickle", archive([storage]), "UserError", /not a file of torch\.save/],
  ["an archive with two", archive([pkl, ["n/data.pkl", described], storage]), "UserError", /not a file of torch\.save/],
  ["a compressed archive", archive([pkl, storage], { method: 8 }), "UserError", /compressed.*entry=m\/data\.pkl/],
  ["a missing storage", archive([pkl]), "CorruptError", /storage=0, expected=24, got=nothing/],
  ["a short storage", archive([pkl, ["m/data/0", data.subarray(4)]]), "CorruptError", /storage=0, expected=24, got=20/],
  ["a big-endian file", archive([pkl, ["m/byteorder", Buffer.from("big")], storage]), "UserError", /big-endian/],
  ["a pickle without measure", archive([["m/data.pkl", Buffer.alloc(9 << 20)]]), "UserError", /bytes=9437184, limit=8388608/],
  ["a pointer of Git LFS", Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "UserError", /git lfs pull/],
  ["a page of HTML", Buffer.from("<!doctype html>".repeat(20)), "CorruptError", /not a torch file/],
  ["an empty file", Buffer.alloc(0), "CorruptError", /not a torch file/],
];
for (const [what, bytes, name, message] of wrong)
  test(`${what} is named for what it is`, () => assert.throws(() => open(bytes), { name, message }));

/** Opens an archive whose zeros are holes, so that it takes no room. */
function openSparse(entries: readonly Entry[]): TorchFile {
  const path = join(work, "sparse.bin");
  const descriptor = openSync(path, "w");
  let at = 0;
  for (const part of archiveParts(entries, { zip64: true }))
    at += typeof part === "number" ? part : writeSync(descriptor, part, 0, part.length, at);
  closeSync(descriptor);
  return new TorchFile(path);
}

test("a tensor behind 5 GB of others is read", () => {
  const file = openSparse([pkl, ["m/data/1", 5e9], storage]);
  assert.ok(file.entries.get("a")!.offset > 5e9);
  assert.deepEqual([...read(file, "a")], [1, 2, 3, 4, 5, 6]);
  file.close();
});

test("a view that is too large to be put in order is refused with what to do", () => {
  const side = 9000;
  const { int } = pickle;
  const tensor = pickledTensor({ elements: int(side * side), shape: [int(side), int(side)], stride: [int(1), int(side)] });
  const file = openSparse([
    ["m/data.pkl", pickle.whole(pickle.dictionary({ a: tensor }))],
    ["m/data/0", side * side * 4],
  ]);
  assert.throws(() => file.readFloats("a", 0, new Float32Array(1)), { name: "UserError", message: /\.contiguous\(\).*tensor=a/ });
  file.close();
});

test("a damaged file is read, or found: whatever the byte, nothing else happens", () => {
  const whole = readFileSync(join(PICKLES, "odd.bin"));
  let found = 0;
  for (let at = 0; at < whole.length; at++) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= [0xff, 0x01, 0x80][at % 3]!;
    try {
      const file = open(damaged);
      try {
        for (const [name, { dtype, shape }] of file.entries) if (dtype === "F32" && elements(shape) < 1e6) read(file, name);
      } finally {
        file.close();
      }
    } catch (error) {
      found++;
      assert.match((error as Error).name, /^(UserError|CorruptError)$/, `byte ${at}: ${(error as Error).stack}`);
    }
  }
  assert.ok(found > 500, `${found} of ${whole.length}`);
  for (let length = 0; length < whole.length; length += 7) assert.throws(() => open(whole.subarray(0, length)), { name: "CorruptError" });
});
