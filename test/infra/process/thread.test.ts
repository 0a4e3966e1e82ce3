import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { UserError } from "../../../core/errors.js";
import { ThreadPool } from "../../../infra/process/thread-pool.js";
import { Thread } from "../../../infra/process/thread.js";

type Echo = Thread<string, string, string, string>;

function start(signal: AbortSignal = new AbortController().signal): Echo {
  return new Thread(new Worker(new URL("echo-child.js", import.meta.url)), { signal, end: "the echo ended" });
}

test("a thread answers each question, with news before and with the class of its errors, and takes notes", async () => {
  const thread = start();
  const news: string[] = [];
  thread.tell("a note");
  const answers = await Promise.all([thread.ask("one", (text) => news.push(text)), thread.ask("two")]);
  assert.deepEqual([answers, news], [["a note, one", "two"], ["thinking about one"]]);
  await assert.rejects(thread.ask("refuse"), (error) => error instanceof UserError && error.message === "refused [got=refuse]");
  assert.equal(await thread.ask("still there"), "still there");
  assert.equal(thread.failure, null);
  await thread.terminate();
});

test("a thread that exits without a word, or by an error, fails what it was asked and whatever it is asked later", async () => {
  for (const [question, message] of [
    ["leave", "the echo ended"],
    ["break", "broken"],
  ] as const) {
    const thread = start();
    const waits = assert.rejects(thread.ask("wait"), { message });
    await assert.rejects(thread.ask(question), { message });
    await waits;
    await thread.ended;
    await assert.rejects(thread.ask("anything"), { message });
    assert.equal(thread.failure?.message, message);
  }
});

test("an aborted signal, or the end of a thread, gives its questions their reason", async () => {
  const controller = new AbortController();
  const [thread, other] = [start(controller.signal), start()];
  const reason = new Error("enough");
  const waits = [assert.rejects(thread.ask("wait"), reason), assert.rejects(other.ask("wait"), reason)];
  controller.abort(reason);
  await other.terminate(reason);
  await Promise.all(waits);
  const late = start(controller.signal);
  await assert.rejects(late.ask("anything"), reason);
  await Promise.all([thread.terminate(), late.terminate()]);
});

test("a question that cannot be sent fails alone", async () => {
  const thread = start();
  await assert.rejects(thread.ask((() => "no function can be sent") as never), { name: "DataCloneError" });
  assert.equal(await thread.ask("next"), "next");
  await thread.terminate();
});

test("a pool asks the thread with the least to do, and starts another only when all are busy", async () => {
  const pool = new ThreadPool<string, string, string, string>(2, () => start());
  assert.equal(await pool.ask(pool.freest(), "one", 1), "one");
  assert.equal(pool.threads.length, 1, "the first one is free again");
  const reason = new Error("over");
  const waits = [3, 1, 1].map((load) => assert.rejects(pool.ask(pool.freest(), "wait", load), reason));
  assert.deepEqual(
    pool.threads.map(({ load }) => load),
    [3, 2],
  );
  await pool.end(reason);
  await Promise.all(waits);
  assert.deepEqual(
    pool.threads.map(({ load }) => load),
    [0, 0],
  );
});
