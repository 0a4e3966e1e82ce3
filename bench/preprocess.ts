import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { uniformAt } from "../core/rows/random.js";
import { UserError } from "../core/errors.js";
import { bytes, count, rate } from "../core/units.js";
import { gpt2Tokenizer } from "../demo/tokenizer.js";
import { median, short } from "./figures.js";
import { DEFAULT_JOB, modelOf } from "./job.js";
import { children, watched } from "./memory.js";

/** Compares preprocessing with Hugging Face's datasets and the Rust tokenizer: in turns, on made rows of Alpaca's shape. */

const SEED = 52_002;
const WATCH_MS = 100;
/** Tokens after which a row is cut. */
const LENGTH = 1024;

/** One client's rounds. */
export interface PreprocessFigures {
  readonly name: string;
  readonly rowsPerSecond: readonly number[];
  /** peak of the own memory of all its processes together, bytes */
  readonly memory: number;
  readonly tokens: number;
}

interface Client {
  readonly name: string;
  /** the command that writes tokens to `output` and prints a line of figures */
  command(output: string): readonly [command: string, ...args: string[]];
}

interface Answer {
  readonly seconds: number;
  readonly tokens: number;
  readonly labels: number;
}

/**
 * Makes `rows` rows and tokenizes them with each client in turn. Throws UserError if a client fails, Error if the numbers of
 * tokens differ.
 */
export async function benchPreprocess(
  options: { readonly rows: number; readonly workers: number; readonly rounds: number; readonly python: string | null },
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<PreprocessFigures[]> {
  const { rows, workers, rounds, python } = options;
  say("making rows");
  await makeRows(root, rows);
  const script = join(import.meta.dirname, "../../bench/datasets_map.py");
  const clients: Client[] = [
    {
      name: `Roslin, ${workers} threads`,
      command: (output) => [process.execPath, join(import.meta.dirname, "preprocess-child.js"), root, output, `${workers}`],
    },
  ];
  if (python !== null)
    clients.push({ name: `datasets.map, num_proc ${workers}`, command: (output) => [python, script, root, output, `${workers}`] });
  const rounded = clients.map(() => [] as { readonly answer: Answer; readonly memory: number }[]);
  for (let round = 0; round < rounds; round++)
    for (const [index, client] of clients.entries()) {
      signal.throwIfAborted();
      const output = join(root, "output");
      await mkdir(output);
      const made = await runOne(client, output, signal);
      await rm(output, { recursive: true });
      const [first] = rounded.flat();
      if (first !== undefined && (first.answer.tokens !== made.answer.tokens || first.answer.labels !== made.answer.labels))
        throw new Error(
          `the clients made different numbers of tokens [${clients[0]!.name}=${first.answer.tokens}, ${client.name}=${made.answer.tokens}, labels=${first.answer.labels} and ${made.answer.labels}]`,
        );
      rounded[index]!.push(made);
      say(`round ${round + 1} of ${rounds}: ${client.name} ${rate(rows / made.answer.seconds, "rows")}`);
    }
  return clients.map(({ name }, index) => ({
    name,
    rowsPerSecond: rounded[index]!.map(({ answer }) => rows / answer.seconds),
    memory: Math.max(...rounded[index]!.map(({ memory }) => memory)),
    tokens: rounded[index]![0]!.answer.tokens,
  }));
}

async function runOne(client: Client, output: string, signal: AbortSignal): Promise<{ readonly answer: Answer; readonly memory: number }> {
  const [command, ...args] = client.command(output);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], signal, killSignal: "SIGKILL" });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const { result, all } = await watched(
    () => [`${child.pid}`, ...children(`${child.pid}`)],
    async () => (await once(child, "close")) as [number | null],
    WATCH_MS,
  );
  if (result[0] !== 0) throw new UserError("a client failed; its messages stand above", { client: client.name, command });
  return { answer: JSON.parse(said.trim().split("\n").at(-1)!) as Answer, memory: all };
}

/** Rows as long as Alpaca's: an instruction of some ten words, an input in two of five rows, a response of 1 to 250 words. */
async function makeRows(root: string, rows: number): Promise<void> {
  const tokenizer = gpt2Tokenizer() as { readonly model: { readonly vocab: Readonly<Record<string, number>> } };
  await mkdir(join(root, "model"));
  await writeFile(
    join(root, "model", "config.json"),
    JSON.stringify({ ...modelOf({ ...DEFAULT_JOB, length: LENGTH }).configJson, eos_token_id: 50_256 }),
  );
  await writeFile(join(root, "model", "tokenizer.json"), JSON.stringify(tokenizer));
  const words = Object.keys(tokenizer.model.vocab).flatMap((token) => (/^Ġ[A-Za-z]{2,}$/.test(token) ? [token.slice(1)] : []));
  const file = createWriteStream(join(root, "rows.jsonl"));
  for (let row = 0; row < rows; row++) {
    let drawn = 0;
    const draw = (): number => uniformAt(SEED, row, drawn++);
    // few words make up most of a text; one in fifty has two parts, as names have
    const word = (): string => words[Math.floor(words.length ** draw())]!;
    const text = (count: number): string =>
      Array.from(
        { length: count },
        (_, index) => `${draw() < 0.02 ? word() + word() : word()}${index % 13 === 12 ? (index % 39 === 38 ? ".\n" : ",") : ""}`,
      ).join(" ");
    const line = {
      instruction: text(6 + Math.floor(draw() * 8)),
      input: draw() < 0.4 ? text(3 + Math.floor(draw() * 20)) : "",
      output: text(1 + Math.floor(250 * draw() ** 2.5)),
    };
    if (!file.write(`${JSON.stringify(line)}\n`)) await once(file, "drain");
  }
  file.end();
  await once(file, "close");
}

/** The figures as a few lines. */
export function showPreprocess(figures: readonly PreprocessFigures[]): string {
  const lines = figures.map(
    ({ name, rowsPerSecond, memory, tokens }) =>
      `${name.padEnd(24)} ${rate(median(rowsPerSecond), "rows")}, the median of ${rowsPerSecond.length} from ${rate(Math.min(...rowsPerSecond), "rows")} to ${rate(Math.max(...rowsPerSecond), "rows")}; ${count(tokens, "token")}; ${bytes(memory)} of memory`,
  );
  const [ours, theirs] = figures;
  if (theirs === undefined) return lines.join("\n");
  const ratios = ours!.rowsPerSecond.map((speed, round) => speed / theirs.rowsPerSecond[round]!);
  return [
    ...lines,
    `Roslin is ${short(median(ratios))} times as fast, the median of ${ratios.length} rounds from ${short(Math.min(...ratios))} to ${short(Math.max(...ratios))}`,
  ].join("\n");
}
