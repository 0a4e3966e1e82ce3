import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CorruptError, UserError } from "../../../core/errors.js";
import { parseGguf } from "../../../core/format/gguf.js";
import { directoryOfGguf } from "../../../core/model/gguf.js";
import { uniformAt } from "../../../core/rows/random.js";
import { floats, gguf, u32, u64, value, type Oddities, type TensorPart, type Value } from "./gguf-writer.js";

const FILES = join(import.meta.dirname, "../../../../test/reference/gguf-files");

const parse = (file: Uint8Array, start = file): ReturnType<typeof parseGguf> => parseGguf(start, file.length, "m.gguf");

function refused(kind: typeof CorruptError | typeof UserError, message: RegExp, file: Uint8Array): void {
  assert.throws(
    () => parse(file),
    (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, message);
      return error.message.includes("file=m.gguf");
    },
  );
}

test("the values of a file that llama.cpp's package wrote are read, of every kind", () => {
  const { values } = JSON.parse(readFileSync(join(FILES, "types.json"), "utf8")) as { values: Record<string, unknown> };
  const { metadata } = parse(readFileSync(join(FILES, "types.gguf")))!;
  for (const [key, expected] of Object.entries(values)) {
    const got = metadata.get(key)!;
    const plain = ArrayBuffer.isView(got) ? Array.from(got as Int32Array, (each) => (key === "flags" ? each === 1 : each)) : got;
    assert.deepEqual(/^u?int\d+$/.test(key) ? String(plain) : plain, expected, key);
  }
  assert.equal(metadata.get("nested"), null, "a list of lists is walked over");
  assert.ok(metadata.get("int32s") instanceof Int32Array);
});

test("tensors have torch's shapes, and lie where the file says", () => {
  const file = readFileSync(join(FILES, "types.gguf"));
  const { tensors } = parse(file)!;
  assert.deepEqual(
    [...tensors.values()].map(({ name, type, shape, bytes }) => [name, type, shape.join(), bytes]),
    [
      ["F32", "F32", "3,64", 768],
      ["F16", "F16", "3,64", 384],
      ["BF16", "BF16", "3,64", 384],
      ["Q8_0", "Q8_0", "3,64", 204],
      ["Q4_0", "Q4_0", "3,64", 108],
      ["Q4_1", "Q4_1", "3,64", 120],
    ],
  );
  for (const { offset } of tensors.values()) assert.equal(offset % 32, 0);
});

test("a header that goes on after the bytes at hand asks for more, wherever they end", () => {
  const file = readFileSync(join(FILES, "types.gguf"));
  const first = Math.min(...[...parse(file)!.tensors.values()].map(({ offset }) => offset));
  for (let length = 0; length < first - 32; length += 7) assert.equal(parse(file, file.subarray(0, length)), null, `${length} bytes`);
  assert.deepEqual(parse(file, file.subarray(0, first)), parse(file));
});

test("version 2 is read, and an alignment of its own", () => {
  const file = gguf([["general.alignment", value.u32(64)]], [floats("a", [3]), floats("b", [2, 5])], { version: 2, alignment: 64 });
  const { tensors } = parse(file)!;
  assert.deepEqual(
    [...tensors.values()].map(({ offset }) => offset % 64),
    [0, 0],
  );
});

const one: TensorPart = floats("a", [32]);
const header = (values: readonly (readonly [string, Value])[], odd: Oddities = {}): Buffer => gguf(values, [], odd);

test("a file that is not a GGUF of a kind that is read is refused by what it is", () => {
  refused(CorruptError, /is not a GGUF: it does not begin with GGUF/, header([], { magic: "GGML" }));
  refused(CorruptError, /ends inside its header \[file=m.gguf, inside=its first four bytes, expected=4, got=2\]/, Buffer.from("GG"));
  refused(UserError, /of this version is not read \[.*expected=version 2 or 3, got=1\]/, header([], { version: 1 }));
  refused(UserError, /version is not read \[.*got=4\]/, header([], { version: 4 }));
  refused(UserError, /is big-endian, and is not read/, header([], { version: 3 << 24 }));
  refused(UserError, /is one of several parts of a model.*llama-gguf-split --merge.*parts=3/, header([["split.count", value.u32(3)]]));
});

test("a tensor of a type that is not read is refused by GGML's name of it", () => {
  for (const [type, name] of [
    [12, "Q4_K"],
    [14, "Q6_K"],
    [23, "IQ4_XS"],
    [28, "F64"],
    [39, "MXFP4"],
    [4711, "number 4711"],
  ] as const)
    refused(
      UserError,
      new RegExp(`type that is not read.*tensor=a, expected=F32, F16, BF16, Q8_0, Q4_0, Q4_1, got=${name}\\]`),
      gguf([], [{ ...one, type }]),
    );
});

test("counts, lengths and sizes beyond any model's are refused before memory is taken for them", () => {
  refused(CorruptError, /impossible number \[.*what=the number of tensors, expected=at most 65536/, header([], { tensorCount: 2n ** 63n }));
  refused(CorruptError, /what=the number of values/, header([], { valueCount: 2 ** 40 }));
  refused(CorruptError, /ends inside its header \[.*inside=the length of the name of value 0/, header([], { valueCount: 60_000 }));
  refused(CorruptError, /what=the length of k, expected=at most 4194304/, header([["k", value.list(8, 2 ** 40, [])]]));
  refused(CorruptError, /ends inside its header \[.*inside=k/, header([["k", value.list(4, 4_000_000, [])]]));
  refused(CorruptError, /what=the length of k, expected=at most 1048576/, header([["k", value.raw(8, u64(2n ** 64n - 1n))]]));
  refused(CorruptError, /impossible number of dimensions \[.*got=0/, gguf([], [{ ...one, shape: [] }]));
  refused(CorruptError, /impossible number of dimensions \[.*got=5/, gguf([], [{ ...one, shape: [1, 1, 1, 1, 32] }]));
  refused(CorruptError, /impossible size \[.*tensor=a/, gguf([], [{ ...one, shape: [0] }]));
  refused(CorruptError, /impossible size/, gguf([], [{ ...one, shape: [2 ** 50, 2 ** 50] }]));
  refused(CorruptError, /what=the sizes of a/, gguf([], [{ ...one, shape: [2n ** 63n] }]));
  refused(CorruptError, /the name of tensor 0.*at most 64/, gguf([], [{ ...one, name: "n".repeat(65) }]));
});

test("a header above the limit is refused, however the file goes on", () => {
  // each of five lists claims 4 million numbers of four bytes
  const claim = (key: string): readonly [string, Value] => [key, value.list(4, 1 << 22, [Buffer.alloc(4 << 22)])];
  const long = header(["a", "b", "c", "d", "e"].map(claim));
  assert.throws(
    () => parseGguf(long, 10 ** 12, "m.gguf"),
    (error) =>
      error instanceof CorruptError && /header is too large \[file=m.gguf, inside=d, expected=at most 67108864/.test(error.message),
  );
});

test("values that no file may have are refused by their names", () => {
  refused(CorruptError, /has a value twice \[.*key=k\]/, header(["k", "k"].map((key) => [key, value.u32(1)] as const)));
  refused(CorruptError, /of a type that GGUF does not have \[.*key=k, got=13\]/, header([["k", value.raw(13, Buffer.alloc(8))]]));
  refused(CorruptError, /neither true nor false \[.*key=k\]/, header([["k", value.flag(2)]]));
  refused(CorruptError, /neither true nor false/, header([["k", value.list(7, 2, [Buffer.from([1, 3])])]]));
  refused(CorruptError, /not UTF-8 \[.*what=k\]/, header([["k", value.raw(8, Buffer.concat([u64(2), Buffer.from([0xc3, 0x28])]))]]));
  const nested = (depth: number): Value => (depth === 0 ? value.u32s([1]) : value.list(9, 1, [nested(depth - 1).bytes]));
  assert.equal(parse(header([["k", nested(3)]]))!.metadata.get("k"), null);
  refused(CorruptError, /lists within lists that are too deep \[.*key=k, limit=4\]/, header([["k", nested(4)]]));
  for (const wrong of [0, 4, 48, 2 ** 21])
    refused(CorruptError, /general.alignment is not a power of two/, header([["general.alignment", value.u32(wrong)]]));
});

test("tensors beyond the end, over one another, twice or out of line are refused by their names", () => {
  const two = [one, floats("b", [32])];
  const file = gguf([], two);
  refused(CorruptError, /beyond the end of its file: the file is cut \[.*tensor=b, expected=352, got=351\]/, file.subarray(0, -1));
  refused(CorruptError, /overlap \[.*tensor=b, before=a/, gguf([], [one, { ...two[1]!, offset: 96 }]));
  refused(CorruptError, /has a tensor twice \[.*tensor=a\]/, gguf([], [one, one]));
  refused(CorruptError, /is not aligned \[.*tensor=b, offset=130, alignment=32\]/, gguf([], [one, { ...two[1]!, offset: 130 }]));
  refused(CorruptError, /rows that are not whole blocks of its type \[.*type=Q4_0, row=48\]/, gguf([], [{ ...one, shape: [48], type: 2 }]));
  refused(CorruptError, /beyond the end/, gguf([], [{ ...one, shape: [2 ** 20, 2 ** 20] }]));
});

test("whatever is cut or flipped in a header ends in an error that names the file, or in a sound model", () => {
  const file = readFileSync(join(FILES, "llama.gguf"));
  const first = Math.min(...[...parse(file)!.tensors.values()].map(({ offset }) => offset));
  let drawn = 0;
  const below = (limit: number): number => Math.floor(uniformAt(19, 0, drawn++) * limit);
  let errors = 0;
  const began = performance.now();
  for (let round = 0; round < 1500; round++) {
    const damaged = Buffer.from(file);
    // the table and the sizes matter most: a flip in a text changes a text
    const at = below(2) === 0 ? below(first) : first - 1 - below(2000);
    if (below(4) === 0) u32(below(2 ** 31)).copy(damaged, Math.min(at, first - 4));
    else damaged[at]! ^= 1 << below(8);
    const cut = below(5) === 0 ? damaged.subarray(0, below(file.length)) : damaged;
    try {
      const header = parse(cut);
      assert.ok(header !== null, "all of the file was given");
      for (const { offset, bytes } of header.tensors.values()) assert.ok(offset + bytes <= cut.length);
      directoryOfGguf(header, () => null, "m.gguf");
    } catch (error) {
      assert.ok(error instanceof CorruptError || error instanceof UserError, `round ${round}: ${String(error)}`);
      assert.match(error.message, /file=m\.gguf/);
      errors++;
    }
  }
  assert.ok(errors > 400, `${errors} errors`);
  assert.ok(performance.now() - began < 20_000);
});
