import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTorchPickle, type TorchTensor } from "../../../core/format/torch-pickle-tensors.js";
import { pickle, pickledTensor, type TensorPieces } from "./archive.js";

const { int, long, text, tuple, call, global, dictionary, whole } = pickle;

/** Parses a pickle beside one storage, "0", of 24 bytes. */
function parse(bytes: Buffer): Map<string, TorchTensor> {
  return parseTorchPickle(bytes, new Map([["0", 24]]), "w.bin");
}

function parseTensor(pieces: TensorPieces): TorchTensor {
  return parse(whole(dictionary({ a: pickledTensor(pieces) }))).get("a")!;
}

test("a tensor is a view of a storage", () => {
  assert.deepEqual({ ...parseTensor({}) }, { dtype: "F32", shape: [2, 3], stride: [3, 1], storage: "0", first: 0 });
  const half = parseTensor({ storage: "HalfStorage", elements: int(12), first: int(9), shape: [int(3)], stride: [int(1)] });
  assert.deepEqual({ ...half }, { dtype: "F16", shape: [3], stride: [1], storage: "0", first: 9 });
  assert.deepEqual(parseTensor({ first: int(5), shape: [], stride: [] }).shape, []);
  assert.deepEqual(parseTensor({ first: int(6), shape: [int(0), int(3)] }).shape, [0, 3]);
  assert.deepEqual(parseTensor({ shape: [int(1000), int(6)], stride: [int(0), int(1)] }).shape, [1000, 6]);
  assert.equal(parseTensor({ elements: long(6), first: long() }).first, 0);
});

test("names that mean something in JavaScript are ordinary names here", () => {
  const tensors = parse(whole(dictionary({ ["__proto__"]: pickledTensor(), constructor: pickledTensor() })));
  assert.deepEqual([...tensors.keys()], ["__proto__", "constructor"]);
  assert.throws(() => parseTensor({ key: "__proto__" }), { name: "CorruptError", message: /storage=__proto__, expected=24, got=nothing/ });
});

const outOfBounds: [string, TensorPieces][] = [
  ["a tensor that ends after its storage", { shape: [int(3), int(3)] }],
  ["a tensor that begins after its storage", { first: int(6), shape: [], stride: [] }],
  ["an empty tensor that begins after its storage", { first: int(7), shape: [int(0)], stride: [int(1)] }],
  ["a stride past the storage", { stride: [int(4), int(1)] }],
  ["a negative size", { shape: [int(-2), int(3)] }],
  ["a negative stride", { stride: [int(-3), int(1)] }],
  ["a negative offset", { first: int(-1) }],
  ["a negative offset in one byte", { first: long(0xff) }],
  ["a negative offset in three bytes", { first: long(0xfe, 0xff, 0xff) }],
  ["sizes that multiply beyond whole numbers", { shape: [long(0, 0, 0, 0, 1), long(0, 0, 0, 0, 1)], stride: [int(0), int(0)] }],
  ["a number of nine bytes", { first: long(0, 0, 0, 0, 0, 0, 0, 0, 1) }],
  ["more axes than strides", { shape: [int(1), int(2), int(3)] }],
  ["more strides than axes", { stride: [int(3), int(1), int(1)] }],
  ["a storage larger than its entry", { elements: int(7) }],
  ["a storage smaller than its entry", { elements: int(5) }],
  ["a negative storage", { elements: long(0xfa) }],
  ["another element type than the entry's size", { storage: "HalfStorage" }],
  ["a storage that is not there", { key: "1" }],
  ["a storage outside the archive's folder", { key: "../0" }],
];
for (const [what, pieces] of outOfBounds)
  test(`${what} is found`, () => assert.throws(() => parseTensor(pieces), { name: "CorruptError" }));

const run = [text("touch /nowhere")];
const refused: [string, Buffer, RegExp][] = [
  ["os.system", call(global("os", "system"), ...run), /global=os\.system/],
  ["os.system by the name of its module", call(global("posix", "system"), ...run), /global=posix\.system/],
  ["a dotted global", call(global("torch", "serialization.os.system"), ...run), /global=torch\.serialization\.os\.system/],
  ["a dotted module", call(global("torch.serialization.os", "system"), ...run), /global=torch\.serialization\.os\.system/],
  ["a builtin", call(global("builtins", "eval"), ...run), /global=builtins\.eval/],
  ["an allowed name of another module", call(global("evil", "_rebuild_tensor_v2")), /global=evil\._rebuild_tensor_v2/],
  ["an allowed pair, otherwise cut", call(global("torch._utils _rebuild_tensor_v2", "")), /global=/],
  ["a member of JavaScript's objects", call(global("torch", "constructor")), /global=torch\.constructor/],
  ["a global of protocol 4", Buffer.concat([text("os"), text("system"), Buffer.from("\x93", "latin1")]), /global=os\.system/],
  ["an instance of protocol 0", Buffer.concat([Buffer.from("("), ...run, Buffer.from("ios\nsystem\n")]), /operation=INST/],
  ["a new object", Buffer.concat([global("collections", "OrderedDict"), tuple(), Buffer.from("\x81", "latin1")]), /operation=NEWOBJ/],
  ["an extension", Buffer.from([0x82, 1]), /operation=EXT1/],
  ["an operation that no protocol has", Buffer.from([0xff]), /operation=0xff/],
  ["a call of something that is not a function", call(global("torch", "FloatStorage"), int(1)), /call=object/],
  ["state for something that is not a dictionary", Buffer.concat([pickledTensor(), dictionary({}), Buffer.from("b")]), /state=object/],
  ["a future protocol", Buffer.from([0x80, 6]), /protocol=6/],
];
for (const [what, bytes, expected] of refused)
  test(`${what} is refused`, () => assert.throws(() => parse(whole(dictionary({ a: bytes }))), { name: "UserError", message: expected }));

test("a torch file that is not a dictionary of tensors is refused by name", () => {
  assert.throws(() => parse(whole(pickledTensor())), { name: "UserError", message: /does not hold a dictionary of tensors/ });
  assert.throws(() => parse(whole(dictionary({ a: pickledTensor(), step: int(3) }))), {
    name: "UserError",
    message: /other than tensors.*name=step/,
  });
});

test("a pickle that is cut anywhere is damaged, and so is one that goes on after its end", () => {
  const bytes = whole(dictionary({ a: pickledTensor() }));
  for (let length = 0; length < bytes.length; length++)
    assert.throws(() => parse(bytes.subarray(0, length)), { name: "CorruptError" }, String(length));
  assert.throws(() => parse(Buffer.concat([bytes, Buffer.from("N")])), { name: "CorruptError", message: /goes on/ });
  for (const piece of ["u", "t", "s", "R", "Q", "b", "h\x01", "q\x01", "X\xff\xff\xff\xff", "cno newline"])
    assert.throws(() => parse(Buffer.from(`\x80\x02${piece}.`, "latin1")), { name: "CorruptError" }, piece);
});
