import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fetchAll } from "../../../infra/remote/fetch.js";

const MIB = 2 ** 20;

interface Served {
  readonly url: string;
  /** the largest number of answers under way at a time */
  atOnce: number;
  /** bytes of all answers */
  sent: number;
}

/** Serves `file`, with `pause` milliseconds after every MiB of an answer. */
async function serve(context: TestContext, file: Buffer, pause: number): Promise<Served> {
  let running = 0;
  const answer = async (range: string | undefined, response: ServerResponse): Promise<void> => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    const [start, end] = from === undefined ? [0, file.length] : [Number(from), Number(to) + 1];
    if (from !== undefined) response.setHeader("content-range", `bytes ${start}-${end - 1}/${file.length}`);
    response.writeHead(from === undefined ? 200 : 206, { "content-length": end - start });
    served.atOnce = Math.max(served.atOnce, ++running);
    for (let at = start; at < end; at += MIB) {
      response.write(file.subarray(at, Math.min(end, at + MIB)));
      if (pause > 0) await sleep(pause);
    }
    running--;
    served.sent += end - start;
    response.end();
  };
  const server = createServer((request, response) => void answer(request.headers.range, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const served = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, atOnce: 0, sent: 0 };
  return served;
}

for (const [line, pause, atOnce] of [
  ["near", 0, 1],
  ["slow", 20, 4],
] as const)
  test(`a file over a ${line} line arrives whole, every byte of it once, and has its digest`, async (context) => {
    const file = Buffer.alloc(100 * MIB + 77);
    for (let at = 0; at < file.length; at += 4093) file.writeUInt32LE(at, Math.min(at, file.length - 4));
    const sha256 = createHash("sha256").update(file).digest("hex");
    const served = await serve(context, file, pause);
    const directory = await mkdtemp(join(tmpdir(), "roslin-fetch-"));
    context.after(() => rm(directory, { recursive: true }));
    const wanted = {
      name: "file",
      blob: join(directory, "blob"),
      bytes: file.length,
      source: { kind: "web", access: { endpoint: served.url, token: null }, address: `${served.url}/file` },
      digest: { kind: "sha256", hex: sha256 },
    } as const;
    const told: number[] = [];
    const events = { signal: new AbortController().signal, onBytes: (done: number) => told.push(done), onNote: () => undefined };
    const [cached] = await fetchAll([wanted], events);
    assert.deepEqual([cached!.sha256, cached!.fetched], [sha256, file.length]);
    assert.equal(served.sent, file.length);
    assert.ok(served.atOnce >= atOnce && served.atOnce <= 8, `${served.atOnce} at a time`);
    assert.equal(told.at(-1), file.length);
    assert.ok((await readFile(wanted.blob)).equals(file));
  });
