import assert from "node:assert/strict";
import { test } from "node:test";
import { fitPrompt, type Room } from "../../../core/text/ask-tokens.js";
import { UserError } from "../../../core/errors.js";

const ids = (count: number): number[] => Array.from({ length: count }, (_, id) => id);
const room: Room = { positions: 20, maxNewTokens: 6, tooLong: "error" };

test("a prompt that leaves a position for an answer stays as it is", () => {
  assert.deepEqual(fitPrompt(ids(19), room, ""), ids(19));
  assert.deepEqual(fitPrompt(ids(19), { ...room, tooLong: "cut" }, ""), ids(19));
});

test("a longer one is refused with its tokens, the positions and what to do", () => {
  assert.throws(
    () => fitPrompt(ids(20), room, "shorten it"),
    (error) => error instanceof UserError && /shorten it \[tokens=20, positions=20\]/.test(error.message),
  );
});

test("a longer one that is cut keeps its end, with room for the answer, but at least half of the positions", () => {
  assert.deepEqual(fitPrompt(ids(50), { ...room, tooLong: "cut" }, ""), ids(50).slice(-14));
  assert.deepEqual(fitPrompt(ids(50), { ...room, tooLong: "cut", maxNewTokens: 500 }, ""), ids(50).slice(-10));
});
