import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { hubSource } from "../../../infra/sources/hub/access.js";
import { bytesPresent, fetchBlob, type WantedBlob } from "../../../infra/transfer/blob.js";
import { pages } from "../../../infra/transfer/block-writer.js";
import { Crew } from "../../../infra/transfer/crew.js";
import { fetchAll } from "../../../infra/transfer/fetch.js";
import type { TransferJob } from "../../../infra/transfer/transfer-thread.js";

const MIB = 2 ** 20;

interface Served {
  readonly url: string;
  /** the largest number of answers under way at a time */
  atOnce: number;
  /** bytes of all answers */
  sent: number;
}

/** How a server sends. */
interface Sending {
  /** milliseconds after every MiB */
  readonly pause: number;
  /** requests, counted from one, that it answers with ranges; undefined: all */
  readonly ranges?: number;
  /** it tells no length, and closes the connection without saying that it is at the end */
  readonly endless?: boolean;
}

async function serve(context: TestContext, file: Buffer, { pause, ranges = Infinity, endless = false }: Sending): Promise<Served> {
  let running = 0;
  let requests = 0;
  const answer = async (range: string | undefined, response: ServerResponse): Promise<void> => {
    const [, from, to] = (++requests <= ranges && /^bytes=(\d+)-(\d+)$/.exec(range ?? "")) || [];
    const [start, end] = from === undefined ? [0, file.length] : [Number(from), Number(to) + 1];
    if (start >= end) return void response.writeHead(416).end();
    if (from !== undefined) response.setHeader("content-range", `bytes ${start}-${end - 1}/${file.length}`);
    if (!endless) response.setHeader("content-length", end - start);
    response.writeHead(from === undefined ? 200 : 206);
    served.atOnce = Math.max(served.atOnce, ++running);
    served.sent += end - start;
    for (let at = start; at < end && !response.destroyed; at += MIB) {
      await new Promise((resolve) => response.write(file.subarray(at, Math.min(end, at + MIB)), resolve));
      if (pause > 0) await sleep(pause);
    }
    running--;
    if (endless) response.destroy();
    else response.end();
  };
  const server = createServer((request, response) => void answer(request.headers.range, response));
  const served = { url: await listening(context, server), atOnce: 0, sent: 0 };
  return served;
}

/** A server's address, where it listens from now on until the test is over. */
async function listening(context: TestContext, server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function numbered(bytes: number): Buffer {
  const file = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4093) file.writeUInt32LE(at, Math.min(at, bytes - 4));
  return file;
}

async function wantedFrom(context: TestContext, url: string, file: Buffer): Promise<WantedBlob & { readonly hex: string }> {
  const directory = await mkdtemp(join(tmpdir(), "roslin-fetch-"));
  context.after(() => rm(directory, { recursive: true }));
  const hex = createHash("sha256").update(file).digest("hex");
  const access = { endpoint: url, token: null, timing: { stallMs: 5000, retryMs: 1 } };
  const source = hubSource({ access, url: `${url}/file` });
  return { name: "file", blob: join(directory, "blob"), bytes: file.length, source, digest: { kind: "sha256", hex }, hex };
}

const quiet = { signal: new AbortController().signal, onBytes: () => undefined, onNote: () => undefined };

for (const [line, pause, atOnce] of [
  ["near", 0, 1],
  ["slow", 20, 4],
] as const)
  test(`a file over a ${line} line arrives whole, every byte of it once, and has its digest`, async (context) => {
    const file = numbered(100 * MIB + 77);
    const served = await serve(context, file, { pause });
    const wanted = await wantedFrom(context, served.url, file);
    const told: number[] = [];
    const [cached] = await fetchAll([wanted], { ...quiet, onBytes: (done) => told.push(done) });
    assert.deepEqual([cached!.sha256, cached!.fetched], [wanted.hex, file.length]);
    assert.equal(served.sent, file.length);
    assert.ok(served.atOnce >= atOnce && served.atOnce <= 8, `${served.atOnce} at a time`);
    assert.equal(told.at(-1), file.length);
    assert.ok((await readFile(wanted.blob)).equals(file));
  });

test("a server that ceases to know ranges is asked for all of it once, after those that it still sends", async (context) => {
  const file = numbered(60 * MIB + 3);
  const served = await serve(context, file, { pause: 20, ranges: 1 });
  const wanted = await wantedFrom(context, served.url, file);
  const notes: string[] = [];
  const [cached] = await fetchAll([wanted], { ...quiet, onNote: (note) => notes.push(note) });
  assert.equal(cached!.sha256, wanted.hex);
  assert.ok(served.atOnce > 1);
  assert.deepEqual(notes, ["file", "file: the server knows no ranges of bytes, so it comes in one stream, from its start"]);
});

test("a server that ceases to know ranges hides no other failure: that ends the download at once", async (context) => {
  const file = numbered(60 * MIB + 3);
  const held: ServerResponse[] = [];
  const server = createServer((_, response) => {
    held.push(response);
    const [first, second, third] = held;
    // nobody waits for the first one, which never ends
    if (response === first) first.writeHead(206, { "content-range": `bytes 0-${16 * MIB - 1}/${file.length}` }).write("x");
    if (response !== third) return;
    second!.on("close", () => third.writeHead(404).end());
    second!.writeHead(200, { "content-length": file.length }).flushHeaders();
  });
  const wanted = await wantedFrom(context, await listening(context, server), file);
  await assert.rejects(fetchAll([wanted], quiet), { name: "UserError", message: /no such repository, revision or file/ });
});

test("blocks wait for the digest only where it is near: what was fetched before has to be read first", async (context) => {
  const file = Buffer.alloc(200 * MIB);
  for (const [digested, inOrder] of [
    [0, false],
    [90 * MIB, true],
  ] as const) {
    const wanted = await wantedFrom(context, "http://127.0.0.1:9", file);
    await writeFile(`${wanted.blob}.part`, "");
    await truncate(`${wanted.blob}.part`, file.length);
    await writeFile(`${wanted.blob}.part.journal`, Array.from({ length: 6 }, (_, index) => `${index} ${16 * MIB}\n`).join(""));
    const jobs: TransferJob[] = [];
    const crew: Pick<Crew, "digest" | "transfer"> = {
      digest: (_job, onDone) => ({ upTo: () => onDone!(digested), result: new Promise(() => undefined) }),
      transfer: (job) => {
        jobs.push(job);
        return Promise.reject(new Error("enough"));
      },
    };
    await assert.rejects(fetchBlob(crew as Crew, wanted, quiet), { message: "enough" });
    assert.deepEqual(
      jobs.map((job) => [job.segments[0]!.index, job.inOrder]),
      [[6, inOrder]],
    );
  }
});

test("a digest tells how far it is whenever it has come to the end of what is there", async (context) => {
  const file = numbered(MIB);
  const { blob, bytes, hex } = await wantedFrom(context, "http://127.0.0.1:9", file);
  await writeFile(blob, file);
  const crew = new Crew(quiet.signal);
  const heard: number[] = [];
  const digesting = crew.digest({ path: blob, bytes, also: null }, (upTo) => heard.push(upTo));
  for (const upTo of [1000, 200_000, bytes]) {
    digesting.upTo(upTo);
    while (heard.at(-1) !== upTo) await sleep(1);
  }
  assert.equal((await digesting.result).sha256, hex);
  await crew.close();
});

test("a digest reads nothing that is not written yet, even if what follows it is in memory", async (context) => {
  const file = numbered(4 * MIB);
  const { blob, bytes, hex } = await wantedFrom(context, "http://127.0.0.1:9", file);
  const crew = new Crew(quiet.signal);
  let digested = 0;
  await writeFile(blob, file.subarray(0, 1000));
  await truncate(blob, bytes);
  const digesting = crew.digest({ path: blob, bytes, also: null }, (upTo) => (digested = upTo));
  const memory = pages(2 * MIB);
  memory.set(file.subarray(2 * MIB));
  digesting.upTo(1000, { start: 2 * MIB, bytes: memory, held: new Int32Array(new SharedArrayBuffer(4)) });
  while (digested < 1000) await sleep(1);
  await writeFile(blob, file);
  digesting.upTo(bytes);
  assert.equal((await digesting.result).sha256, hex);
  await crew.close();
});

test("a connection that breaks after the last byte costs next to nothing", async (context) => {
  const file = numbered(10 * MIB + 5);
  const served = await serve(context, file, { pause: 0, endless: true });
  const wanted = await wantedFrom(context, served.url, file);
  assert.equal((await fetchAll([wanted], quiet))[0]!.sha256, wanted.hex);
  // the first answer is left to Node's client, which asks again, for it tells no length
  assert.ok(served.sent < 2.5 * file.length);
});

test("a digest that fails ends the transfers that would wait for it", async (context) => {
  const wanted = await wantedFrom(context, "http://127.0.0.1:9", numbered(MIB));
  const crew: Pick<Crew, "digest" | "transfer"> = {
    digest: () => ({ upTo: () => undefined, result: Promise.reject(new Error("EIO: the disk is broken")) }),
    transfer: () => sleep(300).then(() => Promise.reject(new Error("the download was given up"))),
  };
  await assert.rejects(fetchBlob(crew as Crew, wanted, quiet), { message: "EIO: the disk is broken" });
});

test("a transfer whose thread ends without a word fails at once", async (context) => {
  const server = createServer(() => undefined);
  const wanted = await wantedFrom(context, await listening(context, server), numbered(MIB));
  const asked = once(server, "request");
  const started = once(process, "worker") as Promise<[Worker]>;
  const failed = assert.rejects(fetchAll([wanted], quiet), { message: "a thread of the download ended" });
  const [worker] = await started;
  await asked;
  await worker.terminate();
  await failed;
});

test("after a restart of the machine what was not forced to disk doesn't count, at the second start either", async (context) => {
  const file = numbered(48 * MIB);
  const wanted = await wantedFrom(context, "http://127.0.0.1:9", file);
  await writeFile(`${wanted.blob}.part`, "");
  await truncate(`${wanted.blob}.part`, file.length);
  await writeFile(`${wanted.blob}.part.journal`, `0 ${16 * MIB}\n0 ${2 * MIB} synced\n1 ${16 * MIB}\n`);
  await utimes(`${wanted.blob}.part.journal`, 1e9, 1e9);
  assert.equal(await bytesPresent(wanted.blob, file.length), 2 * MIB);
  await assert.rejects(fetchAll([wanted], quiet), { name: "UnreachableError" });
  assert.equal(await bytesPresent(wanted.blob, file.length), 2 * MIB);
});
