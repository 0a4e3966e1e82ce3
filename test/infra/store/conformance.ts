import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { sha256 } from "../../../infra/disk/files.js";
import { digestFile } from "../../../infra/disk/file-digest.js";
import { readAll, type ObjectStore } from "../../../infra/store/store.js";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const textOf = async (store: ObjectStore, key: string): Promise<string | null> => {
  const all = await readAll(store, key);
  return all === null ? null : Buffer.from(all).toString();
};

/** What every store keeps; `open` gives a new, empty one each time. */
export function storeConformance(name: string, open: () => Promise<ObjectStore>): void {
  describe(`${name} store`, () => {
    test("gives back what was written, whole and in part", async () => {
      const store = await open();
      await store.write("a/b.txt", bytes("sheep may safely graze"));
      assert.equal(await textOf(store, "a/b.txt"), "sheep may safely graze");
      let part = "";
      for await (const chunk of (await store.read("a/b.txt", { start: 6, end: 9 }))!) part += Buffer.from(chunk).toString();
      assert.equal(part, "may");
    });

    test("replaces an object, and keeps an empty one", async () => {
      const store = await open();
      await store.write("a", bytes("one"));
      await store.write("a", bytes("two"));
      await store.write("empty", bytes(""));
      assert.equal(await textOf(store, "a"), "two");
      assert.equal(await textOf(store, "empty"), "");
    });

    test("has no object that nobody wrote", async () => {
      const store = await open();
      assert.equal(await store.read("none"), null);
      assert.deepEqual(await store.list(""), []);
      await store.delete("none");
      await store.write("a/b", bytes("x"));
      assert.equal(await store.read("a"), null);
    });

    test("creates once, and refuses the second", async () => {
      const store = await open();
      assert.equal(await store.create("commits/000001.json", bytes("first")), true);
      assert.equal(await store.create("commits/000001.json", bytes("second")), false);
      assert.equal(await textOf(store, "commits/000001.json"), "first");
    });

    test("refuses a second creation even of the same bytes", async () => {
      const store = await open();
      assert.equal(await store.create("c", bytes("same")), true);
      assert.equal(await store.create("c", bytes("same")), false);
    });

    test("lets one of several writers create", async () => {
      const store = await open();
      const won = await Promise.all(["p", "q", "r"].map((who) => store.create("c", bytes(who))));
      assert.equal(won.filter(Boolean).length, 1);
      assert.equal(await textOf(store, "c"), ["p", "q", "r"][won.indexOf(true)]);
    });

    test("replaces only what the writer has seen", async () => {
      const store = await open();
      assert.equal(await store.replace("latest", bytes("v1"), bytes("v0")), false);
      assert.equal(await store.replace("latest", bytes("v1"), null), true);
      assert.equal(await store.replace("latest", bytes("v2"), null), false);
      assert.equal(await store.replace("latest", bytes("v2"), bytes("v0")), false);
      assert.equal(await store.replace("latest", bytes("v2"), bytes("v1")), true);
      assert.equal(await textOf(store, "latest"), "v2");
    });

    test("lists what lies below a prefix, in byte order, with sizes", async () => {
      const store = await open();
      for (const key of ["b/2", "b/10", "b/c/d", "a", "bb"]) await store.write(key, bytes(key));
      assert.deepEqual(await store.list("b/"), [
        { key: "b/10", bytes: 4 },
        { key: "b/2", bytes: 3 },
        { key: "b/c/d", bytes: 5 },
      ]);
      assert.deepEqual(
        (await store.list("b")).map(({ key }) => key),
        ["b/10", "b/2", "b/c/d", "bb"],
      );
      assert.equal((await store.list("")).length, 5);
    });

    test("forgets a deleted object", async () => {
      const store = await open();
      await store.write("a", bytes("x"));
      await store.delete("a");
      assert.equal(await store.read("a"), null);
      assert.equal(await store.create("a", bytes("y")), true);
    });

    test("uploads a file, and doesn't send again what is there with its digest", async () => {
      const store = await open();
      const directory = await mkdtemp(join(tmpdir(), "roslin-store-"));
      try {
        const path = join(directory, "file");
        const put = async (content: Buffer): Promise<{ sent: boolean; heard: number }> => {
          await writeFile(path, content);
          let heard = 0;
          const upload = {
            digest: await digestFile(path),
            journal: join(directory, "journal"),
            onBytes: (n: number) => void (heard += n),
            signal: new AbortController().signal,
          };
          return { sent: await store.putFile("big/file.bin", path, upload), heard };
        };
        const content = Buffer.alloc(3 << 20, "roslin");
        assert.deepEqual(await put(content), { sent: true, heard: content.length });
        assert.deepEqual(await put(content), { sent: false, heard: content.length });
        const other = Buffer.from(content).fill("x", 100, 101);
        assert.deepEqual(await put(other), { sent: true, heard: content.length });
        assert.equal(sha256((await readAll(store, "big/file.bin"))!), sha256(other));
        assert.deepEqual(await put(Buffer.alloc(0)), { sent: true, heard: 0 });
        await store.delete("big/file.bin");
        await store.create("big/file.bin", content);
        assert.deepEqual(await put(content), { sent: false, heard: content.length });
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  });
}
