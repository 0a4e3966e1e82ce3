import assert from "node:assert/strict";
import { test } from "node:test";
import { pythons, ranks, secondsUntil, struck } from "../local.js";

/** Processes of `roslin stage train` that freeze. */

test("a rank that is frozen is ended within a minute, with its Python process, and the run comes to the same bytes", async (t) => {
  const { seen } = await struck(t, () => void process.kill(ranks()[1]!, "SIGSTOP"));
  assert.ok(seen.some(({ note }) => note?.startsWith("worker 1 of 2 was frozen: it said nothing for 45 s")));
});

for (const rank of [0, 1])
  test(`a Python process of rank ${rank} that freezes while it starts is known within a minute`, async (t) => {
    await struck(
      t,
      () => void process.kill(pythons()[rank]!, "SIGSTOP"),
      () => secondsUntil(() => pythons().length === 2),
    );
  });
