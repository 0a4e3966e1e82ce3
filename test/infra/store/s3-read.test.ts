import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { CorruptError, UnreachableError, UserError } from "../../../core/errors.js";
import { readOn, type Ask } from "../../../infra/store/s3-read.js";

const CONTENT = Buffer.from("sheep may safely graze");
const TIMING = { stallMs: 1000, retryMs: 1 };
const worded = (error: unknown): Error => (error instanceof UserError ? error : new Error(`in words: ${(error as Error).message}`));

/** An answer with the bytes from `start` on whose connection is cut after `count` of them, for `reason`. */
function answer(start: number, count: number, reason: string | null = "aborted", httpStatusCode = 206): GetObjectCommandOutput {
  async function* body(): AsyncGenerator<Uint8Array> {
    if (count > 0) yield await Promise.resolve(CONTENT.subarray(start, start + count));
    if (reason !== null) throw new Error(reason);
  }
  return {
    Body: Readable.from(body()) as unknown as NonNullable<GetObjectCommandOutput["Body"]>,
    ContentLength: CONTENT.length - start,
    ETag: "e",
    $metadata: { httpStatusCode },
  };
}

/** What is read when the first answer is cut after five bytes. */
async function readAfterCut(ask: Ask, first = answer(0, 5, "aborted", 200)): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of readOn(first, 0, ask, worded, new AbortController().signal, TIMING)) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

test("what broke off goes on where it broke off, of the same version, as often as a byte comes", async () => {
  const asked: unknown[] = [];
  const ask: Ask = (start, etag) => {
    asked.push([start, etag]);
    return Promise.resolve(answer(start, 1));
  };
  assert.equal(
    await readAfterCut((start, etag) => (start < 21 ? ask(start, etag) : Promise.resolve(answer(start, 1, null)))),
    String(CONTENT),
  );
  assert.deepEqual(asked.slice(0, 2), [
    [5, "e"],
    [6, "e"],
  ]);
});

test("a server from which no byte more comes is given up, in words", async () => {
  let asked = 0;
  const ask: Ask = (start) => {
    asked++;
    return Promise.resolve(answer(start, 0));
  };
  await assert.rejects(
    readAfterCut(ask),
    (error) => error instanceof UnreachableError && /does not answer as it should: in words: aborted/.test(error.message),
  );
  assert.equal(asked, 6);
});

test("who is told to stop does not wait for the next try", async () => {
  const stop = new AbortController();
  const failing = (error: unknown): Error => {
    setImmediate(() => stop.abort());
    return worded(error);
  };
  const reading = readOn(answer(0, 0), 0, () => assert.fail("asked again"), failing, stop.signal, { ...TIMING, retryMs: 300_000 });
  await assert.rejects(reading.next(), { name: "AbortError" });
});

test("bytes that all came and are not what the server's checksum says are no cut connection", async () => {
  const nobody: Ask = () => assert.fail("asked again");
  await assert.rejects(
    readAfterCut(nobody, answer(0, CONTENT.length, "Checksum mismatch", 200)),
    (error) => error instanceof CorruptError && /an object is damaged: Checksum mismatch/.test(error.message),
  );
});

test("a whole object in place of its rest is refused", async () => {
  await assert.rejects(
    readAfterCut(() => Promise.resolve(answer(0, 22, null, 200))),
    (error) => error instanceof UserError && /does not serve ranges of bytes/.test(error.message),
  );
});

test("who wants no more lets the rest go", async () => {
  let over = false;
  async function* body(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield await Promise.resolve(CONTENT);
    } finally {
      over = true;
    }
  }
  const first = { ...answer(0, 0), Body: body() as unknown as NonNullable<GetObjectCommandOutput["Body"]> };
  const reading = readOn(first, 0, () => assert.fail("asked again"), worded, new AbortController().signal, TIMING);
  assert.deepEqual((await reading.next()).value, CONTENT);
  await reading.return(undefined);
  assert.equal(over, true);
});
