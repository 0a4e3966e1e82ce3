import assert from "node:assert/strict";
import { test } from "node:test";
import { mutated } from "./mutate.js";
import { withTargets, type Target } from "./readers.js";
import { tried } from "./run.js";

/** Seeds whose inputs once broke a reader, by target. */
const KEPT: readonly (readonly [target: string, seed: number])[] = [["tokenizer.json", 6127]];
/** Milliseconds that a target gets here; `npm run fuzz` gives minutes. */
const SHORT_MS = 150;

test("changed inputs are the same for the same seed, and differ from one to the next", () => {
  const bytes = Buffer.from("0123456789".repeat(10));
  const made = Array.from({ length: 50 }, (_, seed) => mutated(bytes, seed, ["word"]).toString("hex"));
  assert.deepEqual(
    made,
    made.map((_, seed) => mutated(bytes, seed, ["word"]).toString("hex")),
  );
  assert.ok(new Set(made).size > 40);
});

test("every reader reads its own inputs, and refuses changed ones by an error of ours", async () => {
  await withTargets(async (all) => {
    for (const target of all) {
      for (const seed of target.seeds) await target.read(Buffer.from(seed));
      const end = Date.now() + SHORT_MS;
      for (let seed = 0; Date.now() < end; seed++) assert.equal(await tried(target, seed), null, `${target.name}, seed ${seed}`);
    }
    for (const [name, seed] of KEPT)
      assert.equal(
        await tried(
          all.find((each) => each.name === name)!,
          seed,
        ),
        null,
        `${name}, seed ${seed}`,
      );
  });
});

test("an error that is not ours is a failure that names its place", async () => {
  const target: Target = { name: "bad", seeds: [Buffer.from("x")], words: [], read: () => (undefined as never as string).length };
  assert.match((await tried(target, 1))!, /TypeError.*\n.*readers\.test/);
});
