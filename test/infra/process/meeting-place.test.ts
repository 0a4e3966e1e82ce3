import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../../../core/errors.js";
import { joinGroup, type GroupEvents } from "../../../infra/process/group.js";
import { networkPlace, type Board, type Meeting, type MeetingPlace } from "../../../infra/process/meeting-place.js";

function memoryBoard(): Board {
  let word: Uint8Array | null = null;
  return {
    name: "a board",
    read: async () => word,
    write: async (bytes) => void (word = bytes),
    remove: async () => void (word = null),
  };
}

const silent: GroupEvents = { toCoordinator: () => undefined, toAll: () => undefined, lost: () => undefined };
const joining = (place: MeetingPlace, worker: number, workers: number, timeoutMs = 5000) => ({
  place,
  worker,
  workers,
  timeoutMs,
  signal: new AbortController().signal,
});

test("workers of several machines find their coordinator through a store, and a stranger in the network is not let in", async () => {
  const board = memoryBoard();
  const heard: unknown[] = [];
  const events = { ...silent, toCoordinator: (from: number, message: unknown) => void heard.push([from, message]) };
  const coordinator = joinGroup(joining(networkPlace("127.0.0.1", board), 0, 2), events);
  let found: Uint8Array | null = null;
  while (found === null) {
    await sleep(5);
    found = await board.read();
  }
  const { to } = JSON.parse(Buffer.from(found).toString("utf8")) as Meeting;
  for (const word of [
    '{"join":1}',
    '{"join":1,"secret":"0000"}',
    '{"join":1,"secret":""}',
    "GET / HTTP/1.1",
    "null",
    "x".repeat(2 << 20),
  ]) {
    const stranger = connect(to);
    stranger.on("error", () => undefined).write(`${word}\n`);
    await new Promise((resolve) => stranger.once("close", resolve));
  }
  // the address counts for the coordinator alone
  const worker = await joinGroup(joining(networkPlace("192.0.2.1", board), 1, 2), silent);
  const group = await coordinator;
  worker.toCoordinator("hello");
  while (heard.length === 0) await sleep(5);
  assert.deepEqual(heard, [[1, "hello"]]);
  group.seal();
  while ((await board.read()) !== null) await sleep(5);
  worker.close();
  group.close();
});

test("a worker whose machine has no way to the coordinator's says what to do; a coordinator that has gone is a lost one", async () => {
  const at = (to: Meeting["to"]): MeetingPlace => ({
    ...networkPlace("127.0.0.1", memoryBoard()),
    pauseMs: 5,
    find: () => Promise.resolve({ to, secret: "" }),
  });
  const gone = at({ host: "127.0.0.1", port: 1 });
  await assert.rejects(joinGroup(joining(gone, 1, 2, 60), silent), /worker 0 did not appear within.*ECONNREFUSED/);
  const far = at({ host: "far.invalid", port: 1, lookup: noWay });
  await assert.rejects(joinGroup(joining(far, 1, 2, 60), silent), (error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.match(error.message, /cannot reach the one of worker 0: open TCP between them, or set ROSLIN_ADDRESS.*EHOSTUNREACH/);
    return true;
  });
});

function noWay(_host: string, _options: unknown, done: (error: NodeJS.ErrnoException, address: string, family: number) => void): void {
  done(Object.assign(new Error("no route"), { code: "EHOSTUNREACH" }), "", 4);
}
