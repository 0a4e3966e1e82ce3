import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { parameterCount } from "../core/model/family.js";
import type { StageName } from "../core/stages/results.js";
import { short, table } from "./figures.js";
import { writeGptj, writeRows } from "./gptj-files.js";
import { peakHeld, withDescendants } from "./memory.js";
import { inDirectory } from "./run.js";

/** The whole of bench/six-billion.sh, by the commands that users have. */

/** Tokens of a row; a step has two rows. */
const LENGTH = 128;
/** Milliseconds between looks at the processes: a look at 12 GB of mapped pages takes some. */
const LOOK_MS = 500;

/** What one part took. */
interface Part {
  readonly name: string;
  readonly seconds: number;
  /** bytes, as `heldMemory` counts */
  readonly memory: Awaited<ReturnType<typeof peakHeld>>;
  readonly result: string;
}

const { values } = parseArgs({
  options: {
    dir: { type: "string" },
    layers: { type: "string", default: "28" },
    workers: { type: "string", default: "2" },
    steps: { type: "string", default: "3" },
  },
});
const [layers, workers, steps] = [values.layers, values.workers, values.steps].map(Number) as [number, number, number];
if (![layers, workers, steps].every((count) => Number.isInteger(count) && count >= 1) || steps < 2) {
  console.error("usage: bench/six-billion.sh [--dir DIR] [--layers N] [--workers N] [--steps N, at least 2]");
  process.exit(2);
}
const say = (line: string): void => void process.stderr.write(`bench/six-billion.sh: ${line}\n`);
// a second signal would end it at once, and leave its files
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopping.abort());
await inDirectory(values.dir, measure);

async function measure(root: string): Promise<void> {
  const parts: Part[] = [];
  const model = join(root, "model");
  const started = performance.now();
  say(`writing a model of ${layers} layers`);
  const count = parameterCount(writeGptj(model, layers));
  writeRows(join(root, "rows.json"), 2 * steps + 2, LENGTH);
  say(`wrote ${count} parameters in ${short((performance.now() - started) / 1000)} s`);
  const config = join(root, "run.json");
  writeFileSync(
    config,
    JSON.stringify({
      model: { source: pathToFileURL(model).href },
      dataset: { source: pathToFileURL(join(root, "rows.json")).href },
      preprocess: { maxLength: LENGTH, testRows: 2 },
      train: {
        method: "lora",
        shards: 2,
        microBatch: 1,
        learningRate: 1e-3,
        checkpointEverySteps: 1,
        keepCheckpoints: 2,
      },
      evaluate: { generateSamples: 0 },
      publish: { target: pathToFileURL(join(root, "published")).href },
    }),
  );
  const stage = async (
    name: StageName,
    directory: string,
    told: (result: StageOutput) => string,
    title: string = name,
  ): Promise<StageOutput> => {
    const options = name === "train" ? ["--workers", `${workers}`] : [];
    const { part, out } = await run(title, ["stage", name, "--config", config, "--dir", join(root, directory), "--json", ...options]);
    const result = JSON.parse(out.trim().split("\n").at(-1)!) as StageOutput;
    parts.push({ ...part, result: told(result) });
    return result;
  };
  const bytes = ({ outputs }: StageOutput, name: string): string => `${short(outputs.find((each) => each.name === name)!.bytes / 1e6)} MB`;
  for (const directory of ["run", "killed"]) {
    await stage("download", directory, (result) => bytes(result, "model"), `download${directory === "run" ? "" : " once more"}`);
    await stage(
      "preprocess",
      directory,
      ({ metrics }) => `${Number(metrics["rows"])} rows`,
      `preprocess${directory === "run" ? "" : " once more"}`,
    );
  }
  const losses = ({ metrics }: StageOutput): string => (metrics["losses"] as number[]).map((loss) => loss.toFixed(4)).join(", ");
  const whole = await stage(
    "train",
    "run",
    (result) => `losses ${losses(result)}; ${short(Number(result.metrics["tokensPerSecond"]))} tokens/s`,
  );
  const killed = await run(
    "train, killed",
    ["stage", "train", "--config", config, "--dir", join(root, "killed"), "--json", "--workers", `${workers}`],
    () => hasCheckpoint(join(root, "killed")),
  );
  parts.push({ ...killed.part, result: "SIGKILL for all its processes" });
  const resumed = await stage(
    "train",
    "killed",
    ({ metrics, stateDigest }) =>
      `from step ${String(metrics["resumedAtStep"])}; ${stateDigest === whole.stateDigest ? "the same bits" : "OTHER BITS"}`,
    "train, resumed",
  );
  await stage("evaluate", "run", ({ metrics }) => `perplexity ${JSON.stringify(metrics["perplexity"])}`);
  await stage("publish", "run", ({ outputs }) => outputs.map(({ name, bytes }) => `${name} ${short(bytes / 1e6)} MB`).join(", "));
  const answer = await run("generate 4 tokens", ["generate", model, "--prompt", "Say something of time.", "--max-tokens", "4"]);
  parts.push({ ...answer.part, result: JSON.stringify(answer.out.trim()) });
  const head = ["", "seconds", "anonymous", "shared", "mapped files", "all at once", ""];
  const rows = parts.map(({ name, seconds, memory, result }) => [
    name,
    short(seconds),
    ...[memory.anonymous, memory.shared, memory.mapped, memory.all].map(gigabytes),
    result,
  ]);
  console.log(`${count.toLocaleString("en")} parameters, ${layers} layers; a step is 2 rows of ${LENGTH} tokens; ${workers} workers\n`);
  console.log(table([head, ...rows]));
  if (resumed.stateDigest !== whole.stateDigest) process.exitCode = 1;
}

/** What a stage prints. */
interface StageOutput {
  readonly outputs: readonly { readonly name: string; readonly bytes: number }[];
  readonly metrics: Readonly<Record<string, unknown>>;
  readonly stateDigest?: string;
}

/** Runs a command of roslin to its end, or kills it and all its processes when `until` is true. */
async function run(
  name: string,
  args: readonly string[],
  until: () => boolean = () => false,
): Promise<{ readonly part: Omit<Part, "result">; readonly out: string }> {
  say(name);
  const started = performance.now();
  const child = spawn(process.execPath, ["bin/roslin.js", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  const memory = peakHeld(() => [`${child.pid}`], ended, LOOK_MS);
  let wasKilled = false;
  let running = true;
  const over = ended.then(() => (running = false));
  while (running && !wasKilled) {
    if (stopping.signal.aborted || until()) {
      wasKilled = true;
      for (const id of withDescendants([`${child.pid}`])) kill(Number(id));
    }
    await Promise.race([over, sleep(50)]);
  }
  const [code] = await ended;
  stopping.signal.throwIfAborted();
  if (code !== 0 && !wasKilled) throw new Error(`${args.slice(0, 2).join(" ")} failed with exit code ${code}`);
  const seconds = (performance.now() - started) / 1000;
  const part = { name, seconds, memory: await memory };
  say(`${name}: ${short(seconds)} s, ${words(part.memory)}`);
  return { part, out };
}

function kill(id: number): void {
  try {
    process.kill(id, "SIGKILL");
  } catch {
    // it has just ended
  }
}

function words({ anonymous, shared, mapped, all }: Part["memory"]): string {
  return `${gigabytes(all)}: ${gigabytes(anonymous)} anonymous, ${gigabytes(shared)} shared, ${gigabytes(mapped)} of mapped files`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Whether a run has committed a checkpoint. */
function hasCheckpoint(directory: string): boolean {
  const train = join(directory, "train");
  if (!existsSync(train)) return false;
  return readdirSync(train).some((key) => {
    const commits = join(train, key, "commits");
    return existsSync(commits) && readdirSync(commits).some((file) => readFileSync(join(commits, file), "utf8").includes('"checkpoint"'));
  });
}
