import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { uniformAt } from "../../../core/rows/random.js";
import { BlockWriter, PartFile, release, type Piece, type Progress } from "../../../infra/transfer/block-writer.js";

const MIB = 2 ** 20;
const BLOCK = 2 * MIB;

async function partFile(context: TestContext, bytes: number): Promise<{ readonly path: string; readonly part: PartFile }> {
  const directory = await mkdtemp(join(tmpdir(), "roslin-block-"));
  const path = join(directory, "part");
  await writeFile(path, "");
  await truncate(path, bytes);
  const part = new PartFile(path);
  context.after(() => {
    part.close();
    return rm(directory, { recursive: true });
  });
  return { path, part };
}

/** Bytes that tell their place. */
function numbered(bytes: number): Buffer {
  const all = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) all.writeUInt32LE(at, at);
  return all;
}

/** Hands `sent` to a writer in chunks of seeded sizes, received where it wants them every other time, and waits when it asks to. */
async function feed(writer: BlockWriter, sent: Buffer, seed: number): Promise<void> {
  for (let at = 0, index = 0; at < sent.length; index++) {
    const size = Math.ceil(uniformAt(seed, 1, index) * 3 * MIB);
    const room = index % 2 === 0 ? writer.room() : null;
    assert.notEqual(room?.length, 0);
    const chunk = sent.subarray(at, at + Math.min(size, room?.length ?? size));
    room?.set(chunk);
    await writer.take(room === null ? Buffer.from(chunk) : room.subarray(0, chunk.length), "here");
    at += chunk.length;
  }
}

test("stretches of a file arrive whole, whatever they begin at and come in; what is told of in memory stays until it is released", async (context) => {
  const bytes = 11 * MIB + 77;
  const expected = numbered(bytes);
  for (const [seed, inOrder, start, end, skip] of [
    [1, true, 0, bytes, 0],
    [2, false, 0, bytes, 0],
    [3, true, 3 * MIB + 5, bytes - 9, 0],
    [4, true, 4 * MIB, 10 * MIB, 4 * MIB],
    [5, false, BLOCK, BLOCK + 1, 0],
  ] as const) {
    const { path, part } = await partFile(context, bytes);
    const told: number[] = [];
    const pieces: [number, number][] = [];
    const releases: Promise<void>[] = [];
    const keep = async (piece: Piece): Promise<void> => {
      pieces.push([piece.start, piece.bytes.length]);
      await sleep(uniformAt(seed, 2, piece.start) * 20);
      assert.ok(expected.subarray(piece.start, piece.start + piece.bytes.length).equals(piece.bytes));
      release(piece);
    };
    const onWritten = ({ upTo, piece }: Progress): void => {
      told.push(upTo);
      if (piece !== null) releases.push(keep(piece));
    };
    const writer = new BlockWriter(part, { start, end, skip, inOrder }, onWritten);
    await feed(writer, expected.subarray(start - skip, end), seed);
    await writer.end();
    await Promise.all(releases);
    assert.equal(told.at(-1), end);
    assert.deepEqual(
      told,
      told.toSorted((a, b) => a - b),
    );
    for (const [at, length] of pieces) assert.deepEqual([at % BLOCK, length, inOrder], [0, BLOCK, true]);
    const written = await readFile(path);
    assert.ok(written.subarray(start, end).equals(expected.subarray(start, end)));
    assert.ok(written.subarray(0, start).every((byte) => byte === 0) && written.subarray(end).every((byte) => byte === 0));
  }
});

/** A writer of many blocks; `held` gets those that are told of in memory, which on a busy machine need not be all. */
async function holding(context: TestContext): Promise<{ path: string; writer: BlockWriter; expected: Buffer; held: Piece[] }> {
  const expected = numbered(12 * BLOCK);
  const { part, path } = await partFile(context, expected.length);
  const held: Piece[] = [];
  const writer = new BlockWriter(part, { start: 0, end: expected.length, skip: 0, inOrder: true }, ({ piece }) => {
    if (piece !== null) held.push(piece);
  });
  return { path, writer, expected, held };
}

test("while all blocks are held nothing more is taken", async (context) => {
  const { path, writer, expected, held } = await holding(context);
  let fed = false;
  const feeding = feed(writer, expected, 6).then(() => (fed = true));
  while (held.length < 5 && !fed) await sleep(1);
  await sleep(100);
  assert.deepEqual([fed, held.length, writer.room()], [false, 5, null]);
  for (; !fed; await sleep(1)) held.splice(0).forEach(release);
  await feeding;
  await writer.end();
  // the blocks are another writer's next
  held.forEach(release);
  assert.ok((await readFile(path)).equals(expected));
});

test("what waited when its transfer ended is not put into memory that others may have by then", async (context) => {
  const { writer, expected, held } = await holding(context);
  const feeding = assert.rejects(feed(writer, expected, 8), { message: /after the end/ });
  while (held.length < 5) await sleep(1);
  await writer.end();
  held.forEach(release);
  await feeding;
});

test("what comes slowly is written before its block is full", async (context) => {
  const { part } = await partFile(context, BLOCK);
  const told: Progress[] = [];
  const writer = new BlockWriter(part, { start: 0, end: BLOCK, skip: 0, inOrder: true }, (progress) => told.push(progress));
  await sleep(60);
  await writer.take(Buffer.alloc(1000), "here");
  await sleep(60);
  await writer.take(Buffer.alloc(10), "here");
  while (told.length < 2) await sleep(1);
  assert.deepEqual(told, [
    { upTo: 1000, piece: null },
    { upTo: 1010, piece: null },
  ]);
  await writer.end();
});

test("more bytes than were asked for are refused, and those before them written", async (context) => {
  const { path, part } = await partFile(context, 20);
  const writer = new BlockWriter(part, { start: 4, end: 10, skip: 2, inOrder: true }, () => undefined);
  await writer.take(Buffer.from("..abc"), "here");
  assert.throws(() => writer.take(Buffer.from("defg"), "http://here"), {
    name: "UserError",
    message: /more bytes than it said \[source=http:\/\/here, expected=10\]/,
  });
  await writer.end();
  assert.equal((await readFile(path, "utf8")).slice(4, 10), "abc\0\0\0");
});

test("a full disk is reported to the next write, and to the end", async (context) => {
  const linux = process.platform === "linux";
  const part = linux ? new PartFile("/dev/full") : (await partFile(context, 0)).part;
  if (linux) context.after(() => part.close());
  else part.write = () => Promise.reject(Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" }));
  const writer = new BlockWriter(part, { start: 0, end: 40 * MIB, skip: 0, inOrder: true }, ({ upTo }) => assert.equal(upTo, 0));
  await assert.rejects(feed(writer, Buffer.alloc(40 * MIB), 7), { code: "ENOSPC" });
  await assert.rejects(writer.end(), { code: "ENOSPC" });
});
