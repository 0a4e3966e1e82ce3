import assert from "node:assert/strict";
import { test } from "node:test";
import { LastingNotes } from "../../../../activities/train/rank/lasting-notes.js";

test("notes that differ in numbers alone are kept once, and no more than a reader reads", () => {
  const notes = new LastingNotes();
  for (const steps of [5, 10, 15]) notes.add(`the loss is not finite after ${steps} steps`);
  notes.add("the command has ended");
  assert.deepEqual(notes.all(), ["the loss is not finite after 5 steps", "the command has ended"]);
  for (const letter of "abcdefghijklmnopqrstuvwxyz") notes.add(letter);
  assert.equal(notes.all().length, 20);
});
