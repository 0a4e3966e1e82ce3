import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Stage } from "../../../activities/common/stage.js";
import { leave } from "../common/made-stages.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { uniformAt } from "../../../core/rows/random.js";
import type { StageResult } from "../../../core/stages/results.js";
import { listFiles, sha256File } from "../../../infra/disk/files.js";
import { requestFor, writeModel } from "./helpers.js";
import { downloadDefinition } from "../../../activities/download/definition.js";
import { preprocessDefinition } from "../../../activities/preprocess/definition.js";

const directory = mkdtempSync(join(tmpdir(), "roslin-preprocess-kill-"));
after(() => rmSync(directory, { recursive: true }));

const SEED = 7;
/** Kills of each run: that many chunks or up to two more have been made, and then it takes up to so many milliseconds. */
const MOMENTS = [
  { chunks: -2, withinMs: 600 },
  { chunks: 1, withinMs: 15 },
  { chunks: 3, withinMs: 15 },
  { chunks: 6, withinMs: 30 },
];
/** Of 4,096 rows, the last one smaller. */
const CHUNKS = 6;

/** Rows of every fate: kept, cut, dropped, rejected, not JSON, and some twice. */
const lines = Array.from({ length: CHUNKS * 4096 - 1000 }, (_, n) => {
  if (n % 997 === 0) return '{"instruction": "cut o';
  if (n % 501 === 0) return JSON.stringify({ instruction: n, output: "x" });
  if (n % 333 === 0) return JSON.stringify({ instruction: "nothing", output: " " });
  const row = n % 700 === 0 ? 0 : n;
  return JSON.stringify({
    instruction: `Count to ${row}. é日🙂`,
    input: row % 3 === 0 ? `${row}` : "",
    output: `${row} `.repeat(1 + (row % 40)),
  });
});
const dataset = join(directory, "rows.jsonl");
writeFileSync(dataset, lines.join("\n"));
const model = writeModel(join(directory, "model"));
const settings = { testRows: 500, maxLength: 300 };
const config = { model: { source: pathToFileURL(model).href }, dataset: { source: pathToFileURL(dataset).href }, preprocess: settings };
const configFile = join(directory, "config.json");
writeFileSync(configFile, JSON.stringify(config));

/** A place where the download has finished, and what the command is to be asked there. */
async function place(name: string): Promise<{ readonly root: string; readonly stage: string }> {
  const root = join(directory, name);
  const { inputs } = await requestFor(root, model, dataset, settings);
  const request = { root, config: parseRunConfig(config), inputs };
  await leave(downloadDefinition, { ...request, inputs: [] }, { outputs: inputs });
  return { root, stage: new Stage(preprocessDefinition, request).directory };
}

const MAIN = fileURLToPath(new URL("../../cli/main-child.js", import.meta.url));

/** `roslin stage preprocess` as a process of its own; `strike` may kill it. Resolves to its result, null when it was killed. */
async function run(
  root: string,
  threads: number,
  strike: (kill: () => void, gone: () => boolean) => Promise<void>,
): Promise<StageResult<"preprocess"> | null> {
  const args = ["stage", "preprocess", "--config", configFile, "--dir", root, "--workers", `${threads}`, "--json"];
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err] = [child.stdout, child.stderr].map((stream) => {
    const said: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => said.push(chunk));
    return (): string => Buffer.concat(said).toString();
  });
  const closed = once(child, "close");
  await strike(
    () => void child.kill("SIGKILL"),
    () => child.exitCode !== null,
  );
  await closed;
  if (child.signalCode === "SIGKILL") return null;
  assert.equal(child.exitCode, 0, err!());
  return JSON.parse(out!().trim().split("\n").at(-1)!) as StageResult<"preprocess">;
}

/** Everything that a finished stage leaves but its times, by name. */
async function leftIn(stage: string): Promise<Record<string, string>> {
  const names = (await listFiles(stage)).filter((name) => !["lock", "stage.json"].includes(name));
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await sha256File(join(stage, name))])));
}

const untimed = ({ outputs, metrics: { seconds: _s, rowsPerSecond: _r, ...metrics } }: StageResult<"preprocess">): object => ({
  sha256: outputs[0]!.sha256,
  bytes: outputs[0]!.bytes,
  metrics,
});

test("killed at any moments, with any number of threads, it leaves the bytes of an undisturbed run", async () => {
  const calm = await place("calm");
  const expected = await run(calm.root, 2, async () => undefined);
  const files = await leftIn(calm.stage);
  assert.equal(Object.keys(files).filter((name) => name.startsWith("tokens/")).length, CHUNKS + 1);
  assert.ok((expected!.metrics["rejected"] as number) > 60 && (expected!.metrics["truncated"] as number) > 1000);
  for (const threads of [1, 2, 3]) {
    const { root, stage } = await place(`killed-${threads}`);
    let killed = 0;
    for (let strike = 0; strike < MOMENTS.length; strike++) {
      const { chunks, withinMs } = MOMENTS[strike]!;
      const [more, later] = [0, 1].map((index) => uniformAt(SEED, threads * MOMENTS.length + strike, index)) as [number, number];
      const wanted = Math.min(CHUNKS, chunks + Math.floor(more * 3));
      const done = await run(root, threads, async (kill, gone) => {
        while (!gone() && finished(stage) < wanted) await sleep(1);
        await sleep(later * withinMs);
        kill();
      });
      if (done === null) killed++;
    }
    assert.ok(killed > 0, "no kill struck");
    const result = await run(root, threads, async () => undefined);
    assert.deepEqual(untimed(result!), untimed(expected!));
    assert.deepEqual(await leftIn(stage), files);
  }
});

/** Chunks that have their record. */
function finished(stage: string): number {
  try {
    return readdirSync(join(stage, "chunks")).filter((name) => /^\d+\.json$/.test(name)).length;
  } catch {
    return 0;
  }
}
