import assert from "node:assert/strict";
import { test } from "node:test";
import { XxHash64 } from "../../../infra/dataset/xxhash64.js";
import { ZstdFrames } from "../../../infra/dataset/zstd-frames.js";
import { zstdFrame } from "./made-files.js";

function unpack(bytes: Uint8Array, piece = bytes.length): Buffer {
  const frames = new ZstdFrames();
  const made: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += piece) {
    frames.push(bytes.subarray(at, at + piece));
    for (let next = frames.pull(); next !== null; next = frames.pull()) made.push(next);
  }
  frames.end();
  return Buffer.concat(made);
}

test("frames come in pieces of any size", () => {
  const content = Buffer.from("frames and blocks ".repeat(20));
  const packed = Buffer.concat([zstdFrame(content), zstdFrame(Buffer.alloc(0)), zstdFrame(content)]);
  for (const piece of [1, 2, 3, 7, 18, 100, packed.length]) assert.equal(unpack(packed, piece).toString(), content.toString().repeat(2));
});

/** A frame's header fields after the magic number, and then one empty last block. */
const frame = (...header: readonly number[]): Buffer => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...header, 1, 0, 0]);

test("what fzstd does not look at is refused", () => {
  assert.equal(unpack(frame(0, 0x50)).length, 0);
  assert.throws(() => unpack(frame(0x00, 0x90)), /looks back 268\.\d MB, which is more than/);
  assert.throws(() => unpack(frame(0xa0, 0, 0, 0, 0x20)), /looks back/);
  assert.throws(() => unpack(frame(0x01, 0x50, 7)), /needs a dictionary/);
  assert.throws(() => unpack(frame(0x20, 5)), /has 0 bytes instead of 5/);
  assert.throws(() => unpack(Buffer.concat([frame(0x04, 0x50), Buffer.from([1, 2, 3, 4])])), /checksum is wrong/);
  // XXH64 of nothing
  assert.equal(unpack(Buffer.concat([frame(0x04, 0x50), Buffer.from([0x99, 0xe9, 0xd8, 0x51])])).length, 0);
  assert.throws(() => unpack(Buffer.concat([frame(0x00, 0x50), Buffer.from("tail!")])), /not a frame/);
  assert.throws(() => unpack(Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x50, 0x01, 0x00, 0x20])), /too long/);
});

test("XXH64 of known texts, in pieces of any size", () => {
  const hash = (text: string, piece: number): string => {
    const made = new XxHash64();
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += piece) made.update(bytes.subarray(at, at + piece));
    return made.low32().toString(16).padStart(8, "0");
  };
  const long = "Call me Ishmael. Some years ago--never mind how long precisely-";
  for (const piece of [1, 5, 31, 32, 33, 100])
    for (const [text, low] of [
      ["", "51d8e999"],
      ["a", "a98c6e5b"],
      [long, "70d6fd96"],
    ] as const)
      assert.equal(hash(text, piece), low, `${text} in ${piece}`);
});
