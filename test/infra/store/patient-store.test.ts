import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { memoryStore } from "../../../infra/store/memory-store.js";
import { patientStore } from "../../../infra/store/patient-store.js";
import { readAll, type ObjectStore } from "../../../infra/store/store.js";

const bytes = Buffer.from("bytes");
const never = new AbortController().signal;

test("calls wait for a store that cannot answer, and say so; the first one opens it, in as many tries as that takes", async () => {
  const real = memoryStore();
  let failures = 2;
  const said: string[] = [];
  const open = (): Promise<ObjectStore> =>
    failures-- > 0 ? Promise.reject(new Error("the S3 endpoint cannot be reached")) : Promise.resolve(real);
  const store = patientStore("s3://bucket", open, never, (note) => void said.push(note));
  await store.write("key", bytes);
  assert.equal((await readAll(real, "key"))!.toString(), "bytes");
  assert.equal(said.length, 2);
  assert.match(said[0]!, /cannot be reached; trying again in 1 s/);
});

test("what no other try can help is thrown at once, and a stop ends the wait", async () => {
  const refuses = { ...memoryStore(), write: () => Promise.reject(new UserError("no right to write")) };
  const store = patientStore(
    "s3://bucket",
    () => Promise.resolve(refuses),
    never,
    () => assert.fail("there is nothing to wait for"),
  );
  await assert.rejects(store.write("key", bytes), /no right to write/);
  const stop = new AbortController();
  const away = { ...memoryStore(), list: () => Promise.reject(new Error("away")) };
  const waiting = patientStore(
    "s3://bucket",
    () => Promise.resolve(away),
    stop.signal,
    () => stop.abort(new Error("stopped")),
  );
  await assert.rejects(
    waiting.list(""),
    (error) => error instanceof Error && (error === stop.signal.reason || error.name === "AbortError"),
  );
});

test("a creation whose answer was lost has succeeded, and one that another writer won has not", async () => {
  for (const [theirs, expected] of [
    [bytes, true],
    [Buffer.from("of another writer"), false],
  ] as const) {
    const real = memoryStore();
    let calls = 0;
    const create = async (key: string, own: Uint8Array): Promise<boolean> => {
      if (++calls > 1) return real.create(key, own);
      await real.create(key, theirs);
      throw new Error("the connection broke");
    };
    const store = patientStore(
      "s3://bucket",
      () => Promise.resolve({ ...real, create }),
      never,
      () => undefined,
    );
    assert.equal(await store.create("commits/000001.json", bytes), expected);
  }
});
