import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { UserError } from "../core/errors.js";
import { uniformAt } from "../core/rows/random.js";
import { promptOf } from "../core/text/prompt.js";
import type { InferenceModel } from "../engines/inference.js";
import { openInference } from "../engines/onnx/inference/open-inference.js";
import { readableTokenizer } from "../infra/text/read-tokenizer.js";
import { readModelConfig } from "../infra/weights/read-model-config.js";
import { median, short, table } from "./figures.js";
import type { Job } from "./job.js";
import { makeInputs } from "./made.js";

/** How fast new tokens come, beside transformers on the same prompts, threads and model, in fp32 and greedily. */

/** What is measured, and how often. */
export interface GenerateBench {
  /** a model directory; null: one is made of the job */
  readonly model: string | null;
  readonly job: Job;
  /** after one that is not counted */
  readonly rounds: number;
  /** new tokens of each prompt */
  readonly tokens: number;
  /** an interpreter with transformers; null: only this engine is measured */
  readonly python: string | null;
}

/** Sequences at a time. */
const BATCHES = [1, 8] as const;
/** Tokens of a made prompt. */
const PROMPT = 32;
const SEED = 1;

/** What came out for one number of sequences; times are of whole answers, prompts included. */
export interface BatchFigures {
  readonly batch: number;
  /** new tokens a second of all sequences, by round */
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  /** the median of the rounds' quotients; null without a peer */
  readonly ratio: number | null;
  /** sequences with the same tokens in the last round */
  readonly same: number;
}

/** What came out. */
export interface GenerateFigures {
  readonly threads: number;
  readonly promptTokens: number;
  readonly tokens: number;
  readonly versions: string | null;
  readonly batches: readonly BatchFigures[];
}

/** Answers in turns: for each round and number of sequences ours, then the peer's. Throws UserError. */
export async function benchGenerate(
  { model, job, rounds, tokens, python }: GenerateBench,
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<GenerateFigures> {
  const directory = model === null ? await madeModel(job, tokens, root, signal) : resolve(model);
  const prompts = promptsOf(directory);
  const { positions } = readModelConfig(directory).shape;
  if (prompts[0]!.length + tokens > positions)
    throw new UserError("prompt and new tokens do not fit into the model's positions: lower --tokens", {
      prompt: prompts[0]!.length,
      tokens,
      positions,
    });
  const threads = availableParallelism();
  const ours = await openInference(directory, signal);
  const peer = python === null ? null : await Peer.start(python, directory, threads, signal);
  const speeds = BATCHES.map((batch) => ({ batch, ours: [] as number[], theirs: [] as number[], same: 0 }));
  try {
    for (let round = 0; round <= rounds; round++)
      for (const figures of speeds) {
        say(
          `${round === 0 ? "warming up" : `round ${round} of ${rounds}`}: ${figures.batch === 1 ? "one sequence" : `${figures.batch} sequences`}`,
        );
        const asked = prompts.slice(0, figures.batch);
        const mine = await answer(ours, asked, tokens);
        const other = await peer?.answer(asked, tokens);
        if (round === 0) continue;
        figures.ours.push((figures.batch * tokens) / mine.seconds);
        if (other === undefined) continue;
        figures.theirs.push((figures.batch * tokens) / other.seconds);
        figures.same = mine.tokens.filter((each, index) => JSON.stringify(each) === JSON.stringify(other.tokens[index])).length;
      }
  } finally {
    await ours.close();
    await peer?.stop();
  }
  const batches = speeds.map((figures) => ({
    ...figures,
    ratio: peer === null ? null : median(figures.ours.map((speed, round) => speed / figures.theirs[round]!)),
  }));
  return { threads, promptTokens: prompts[0]!.length, tokens, versions: peer?.versions ?? null, batches };
}

/** The figures as a table. */
export function showGenerate({ threads, promptTokens, tokens, versions, batches }: GenerateFigures): string {
  const range = (speeds: readonly number[]): string => `${short(Math.min(...speeds))} to ${short(Math.max(...speeds))}`;
  const rows = batches.map(({ batch, ours, theirs, ratio, same }) => [
    `${batch}`,
    short(median(ours)),
    range(ours),
    ...(ratio === null ? [] : [short(median(theirs)), range(theirs), `${short(ratio)} x`, `${same} of ${batch}`]),
  ]);
  const head = ["sequences", "ours", "rounds", ...(versions === null ? [] : ["theirs", "rounds", "ours / theirs", "same tokens"])];
  return [
    `new tokens a second, ${tokens} after ${promptTokens} of a prompt, fp32, greedy, ${threads} threads${versions === null ? "" : `; theirs: ${versions}`}`,
    table([head, ...rows]),
  ].join("\n");
}

async function madeModel(job: Job, tokens: number, root: string, signal: AbortSignal): Promise<string> {
  const [model] = await makeInputs({ ...job, length: PROMPT + tokens }, 1, root, signal);
  return fileURLToPath(model!.uri);
}

/** Eight prompts of one length, because transformers pads others: instructions in Dolly's prompt, or random words without a tokenizer. */
function promptsOf(directory: string): number[][] {
  const tokenizer = readableTokenizer(directory);
  const count = Math.max(...BATCHES);
  if (tokenizer === null) {
    const { vocabulary } = readModelConfig(directory).shape;
    return Array.from({ length: count }, (_, row) =>
      Array.from({ length: PROMPT }, (_each, at) => Math.floor(uniformAt(SEED, row, at) * vocabulary)),
    );
  }
  const things = ["bread", "the moon", "a good night's sleep", "a bicycle", "rain", "chess", "an old friend", "the sea"];
  const prompts = things
    .slice(0, count)
    .map((thing) => [...tokenizer.encode(promptOf({ instruction: `Write two sentences about ${thing}.` }))]);
  const shortest = Math.min(...prompts.map(({ length }) => length));
  return prompts.map((prompt) => prompt.slice(-shortest));
}

interface Answers {
  readonly seconds: number;
  readonly tokens: readonly (readonly number[])[];
}

async function answer(model: InferenceModel, prompts: readonly (readonly number[])[], tokens: number): Promise<Answers> {
  const answers = prompts.map((): number[] => []);
  const started = performance.now();
  for await (const { sequence, token } of model.generate(prompts, { maxNewTokens: tokens, minNewTokens: tokens }))
    answers[sequence]!.push(token);
  return { seconds: (performance.now() - started) / 1000, tokens: answers };
}

/** A Python process that answers when it is told to, and sleeps meanwhile. */
class Peer {
  readonly versions: string;
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, versions: string) {
    this.child = child;
    this.lines = lines;
    this.versions = versions;
  }

  static async start(python: string, model: string, threads: number, signal: AbortSignal): Promise<Peer> {
    const script = join(import.meta.dirname, "../../bench/generate.py");
    const child = spawn(python, [script, model, `${threads}`], { stdio: ["pipe", "pipe", "inherit"], signal, killSignal: "SIGKILL" });
    // if it ends early, a missing answer shows it
    child.on("error", () => undefined);
    child.stdin.on("error", () => undefined);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { versions } = await nextLine<{ versions: string }>(lines);
    return new Peer(child, lines, versions);
  }

  async answer(prompts: readonly (readonly number[])[], tokens: number): Promise<Answers> {
    this.child.stdin!.write(`${JSON.stringify({ prompts, tokens })}\n`);
    return await nextLine<Answers>(this.lines);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.stdin!.end();
    await ended;
  }
}

async function nextLine<T>(lines: AsyncIterator<string>): Promise<T> {
  const line = await lines.next();
  if (line.done === true)
    throw new UserError("Python ended before it had answered; its messages stand above. It needs torch and transformers");
  return JSON.parse(line.value) as T;
}
