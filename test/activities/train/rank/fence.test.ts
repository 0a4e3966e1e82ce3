import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { openLog } from "../../../../activities/train/log/commit-log.js";
import { openStore } from "../../../../infra/store/open-store.js";
import type { S3Settings } from "../../../../infra/store/s3-store.js";
import { startTestS3 } from "../../../infra/store/weed.js";

/** The fence with real processes, in a directory and on a real S3 server. */

const scratch = mkdtempSync(join(tmpdir(), "roslin-fence-"));
const writers: ChildProcess[] = [];
let server: Awaited<ReturnType<typeof startTestS3>>;
let count = 0;
before(async () => {
  server = await startTestS3();
});
after(async () => {
  for (const writer of writers) writer.kill("SIGKILL");
  await server.stop();
  rmSync(scratch, { recursive: true });
});

const PLACES: Readonly<Record<string, () => { uri: string; settings: S3Settings }>> = {
  files: () => ({ uri: pathToFileURL(join(scratch, `log-${count++}`)).href, settings: {} }),
  S3: () => ({ uri: `s3://roslin/log-${count++}`, settings: server.settings }),
};

/** A process that takes part in a log. */
interface Writer {
  readonly child: ChildProcess;
  readonly generation: number;
  /** Lets it try to commit; resolves to how that ended. */
  commit(step: number): Promise<string>;
}

async function startWriter(place: { uri: string; settings: S3Settings }, generation?: number): Promise<Writer> {
  const argument = JSON.stringify({ ...place, generation });
  const child = spawn(process.execPath, ["--no-warnings", join(import.meta.dirname, "fence-child.js"), argument], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  writers.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => String((await lines.next()).value);
  const own = Number(await next());
  const commit = (step: number): Promise<string> => {
    child.stdin.write(`${step}\n`);
    return next();
  };
  return { child, generation: own, commit };
}

/** What the log holds: attempts as "attempt", checkpoints as their step. */
async function held({ uri, settings }: { uri: string; settings: S3Settings }): Promise<unknown[]> {
  const { entries } = await openLog(openStore(uri, settings));
  return entries.map((entry) => (entry.kind === "checkpoint" ? entry.step : entry.kind));
}

for (const [name, newPlace] of Object.entries(PLACES)) {
  test(`on ${name} a stopped and continued process cannot commit any more`, async () => {
    const place = newPlace();
    const zombie = await startWriter(place);
    assert.equal(await zombie.commit(1), "committed 2");
    zombie.child.kill("SIGSTOP");
    const late = zombie.commit(2);
    const heir = await startWriter(place);
    assert.equal(heir.generation, 3);
    zombie.child.kill("SIGCONT");
    assert.equal(await late, "FencedError");
    assert.equal(await heir.commit(2), "committed 4");
    assert.equal(await zombie.commit(3), "FencedError", "nor when it tries again");
    assert.deepEqual(await held(place), ["attempt", 1, "attempt", 2]);
  });

  test(`on ${name} a worker that comes late to an attempt from before a reset cannot commit`, async () => {
    const place = newPlace();
    const { generation } = await startWriter(place);
    // a reset rewinds the workflow, not the log
    const heir = await startWriter(place);
    const late = await startWriter(place, generation);
    assert.equal(await late.commit(1), "FencedError");
    assert.equal(await heir.commit(1), "committed 3");
    assert.equal(await late.commit(2), "FencedError");
    assert.deepEqual(await held(place), ["attempt", "attempt", 1]);
  });

  test(`on ${name} of two runs of the same job that commit at once one goes on, and the other stops`, async () => {
    const place = newPlace();
    const first = await startWriter(place);
    const second = await startWriter(place, first.generation);
    const answers = await Promise.all([first.commit(1), second.commit(1)]);
    assert.deepEqual(answers.toSorted(), ["FencedError", "committed 2"]);
    const winner = answers[0] === "FencedError" ? second : first;
    const loser = winner === first ? second : first;
    assert.equal(await loser.commit(9), "FencedError");
    assert.equal(await winner.commit(2), "committed 3");
    assert.deepEqual(await held(place), ["attempt", 1, 2]);
  });
}

test("a writer that is killed between its last look and its commit leaves a log that others go on with", async () => {
  const place = PLACES["files"]!();
  const first = await startWriter(place);
  first.child.kill("SIGKILL");
  await once(first.child, "exit");
  const next = await startWriter(place);
  assert.equal(await next.commit(1), "committed 3");
});
