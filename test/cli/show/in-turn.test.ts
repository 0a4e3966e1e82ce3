import assert from "node:assert/strict";
import { test } from "node:test";
import { InTurn } from "../../../cli/show/in-turn.js";

test("the first text is shown as it comes, and the next ones behind it", () => {
  const parts: string[] = [];
  const texts = new InTurn((part) => void parts.push(part), ["# one\n", "# two\n", "# three\n"]);
  texts.add(0, "a");
  texts.add(1, "x");
  texts.add(2, "p");
  texts.add(0, "b");
  texts.add(2, "q");
  assert.deepEqual(parts, ["# one\n", "a", "b"]);
  // the first two had nothing in the last step: they are over
  texts.add(2, "r");
  assert.equal(parts.join(""), "# one\nab");
  texts.add(2, "s");
  assert.equal(parts.join(""), "# one\nab\n\n# two\nx\n\n# three\npqrs");
  texts.end();
  assert.equal(parts.join(""), "# one\nab\n\n# two\nx\n\n# three\npqrs\n");
});

test("one text has nothing around it", () => {
  const parts: string[] = [];
  const text = new InTurn((part) => void parts.push(part), [""]);
  text.add(0, "a");
  text.add(0, "b");
  text.end();
  assert.equal(parts.join(""), "ab\n");
});
