import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { NumberPipe } from "../../../engines/deepspeed/number-pipe.js";

test("numbers are read whatever the chunks that they come in, and an early end is seen", async () => {
  const numbers = Float32Array.from({ length: 100 }, (_, index) => index / 3);
  const bytes = Buffer.from(numbers.buffer);
  for (const size of [1, 3, 7, 64, 1000]) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
    const pipe = new NumberPipe(Readable.from(chunks));
    const [first, none, rest, beyond] = [new Float32Array(33), new Float32Array(0), new Float32Array(67), new Float32Array(1)];
    assert.deepEqual([await pipe.read(first), await pipe.read(none), await pipe.read(rest)], [true, true, true]);
    assert.deepEqual([...first, ...rest], [...numbers]);
    assert.equal(await pipe.read(beyond), false);
  }
});
