import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { StepRecord } from "../engines/engine.js";
import type { TokenRow } from "../core/rows/token-rows.js";
import { UserError } from "../core/errors.js";
import type { StepPlan } from "../core/training/step-plan.js";
import { median } from "./figures.js";
import type { Job } from "./job.js";
import { children, watched } from "./memory.js";

/** Milliseconds between looks at the processes. Each look costs time, and time is being measured. */
const WATCH_MS = 250;

/** Ways in which PyTorch trains the same job: one process in fp32 or bf16, and FSDP2 over gloo, eight ranks in fp32. */
export const PEERS = ["fp32", "bf16", "fsdp"] as const;
/** Ways in which PEFT trains adapters in fp32, one process: all that blocks compute is kept, or it is computed again. */
export const ADAPTER_PEERS = ["peft", "peft-checkpointing"] as const;
/** One of them. */
export type PeerName = (typeof PEERS)[number] | (typeof ADAPTER_PEERS)[number];

/** What one step took and gave. */
export interface PeerStep {
  readonly seconds: number;
  /** mean over the step's labels */
  readonly loss: number;
  /** peak of the own memory of all its processes together, bytes */
  readonly memory: number;
}

/** A peer's steps compared with ours on the same rows. */
export interface PeerFigures {
  readonly name: PeerName;
  readonly versions: string;
  readonly tokensPerSecond: number;
  readonly rowsPerSecond: number;
  /** its seconds divided by ours, for each step */
  readonly ratios: readonly number[];
  /** the median of the ratios */
  readonly ratio: number;
  /** bytes */
  readonly memory: number;
  /** relative difference of the first step's two losses */
  readonly lossDifference: number;
}

/** A Python process that trains a step when it is told to, and sleeps meanwhile. */
export class Peer {
  readonly name: PeerName;
  readonly pid: string;
  readonly versions: string;
  private readonly child: ChildProcess;
  private readonly answers: AsyncIterator<string>;

  private constructor(name: PeerName, child: ChildProcess, answers: AsyncIterator<string>, versions: string) {
    this.name = name;
    this.pid = `${child.pid}`;
    this.child = child;
    this.answers = answers;
    this.versions = versions;
  }

  /** Starts Python on a model directory, with what else its script is told. Throws UserError if it cannot train. */
  static async start(python: string, name: PeerName, model: string, signal: AbortSignal, more: readonly string[] = []): Promise<Peer> {
    const script = join(import.meta.dirname, "../../bench/pytorch.py");
    const child = spawn(python, [script, name, model, ...more], { stdio: ["pipe", "pipe", "inherit"], signal, killSignal: "SIGKILL" });
    // if it ends early, a missing answer shows it
    child.on("error", () => undefined);
    child.stdin.on("error", () => undefined);
    const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { torch, transformers, peft } = await answer<{ torch: string; transformers: string; peft?: string }>(answers, name);
    return new Peer(name, child, answers, `PyTorch ${torch}, transformers ${transformers}${peft === undefined ? "" : `, PEFT ${peft}`}`);
  }

  /** Trains one step on these batches of rows. Throws UserError if Python has ended. */
  async step(batches: readonly (readonly TokenRow[])[]): Promise<PeerStep> {
    const rows = batches.map((batch) => batch.map(({ inputIds, labels }) => [Array.from(inputIds), Array.from(labels)]));
    const { result, all } = await watched(
      () => [this.pid, ...children(this.pid)],
      () => {
        this.child.stdin!.write(`${JSON.stringify(rows)}\n`);
        return answer<{ seconds: number; loss: number }>(this.answers, this.name);
      },
      WATCH_MS,
    );
    return { ...result, memory: all };
  }

  /** Ends the process and its ranks. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.stdin!.end();
    await ended;
  }
}

async function answer<T>(answers: AsyncIterator<string>, name: PeerName): Promise<T> {
  const line = await answers.next();
  if (line.done === true)
    throw new UserError("Python ended before it had trained; its messages stand above. It needs torch and transformers", { peer: name });
  return JSON.parse(line.value) as T;
}

/** A step's rows in a peer's batches: one for each shard. But one process takes rows of one length in one batch, which is fastest. */
export function batchesOf(plan: StepPlan, name: PeerName, job: Job): TokenRow[][] {
  const batches = plan.microBatches.flatMap(({ shards }) => shards.map(({ rows }) => [...rows]));
  return name !== "fsdp" && job.dataset === null ? [batches.flat()] : batches;
}

/** Figures from the steps of both on the same rows. The first step only warmed up. */
export function comparePeer({ name, versions }: Peer, ours: readonly StepRecord[], theirs: readonly PeerStep[]): PeerFigures {
  const pairs = ours.map((record, index) => ({ record, step: theirs[index]! }));
  const [first, ...counted] = pairs;
  const ratios = counted.map(({ record, step }) => step.seconds / record.seconds);
  return {
    name,
    versions,
    tokensPerSecond: median(counted.map(({ record, step }) => record.tokens / step.seconds)),
    rowsPerSecond: median(counted.map(({ record, step }) => record.rows / step.seconds)),
    ratios,
    ratio: median(ratios),
    memory: Math.max(...theirs.map(({ memory }) => memory)),
    lossDifference: Math.abs(first!.step.loss / first!.record.loss! - 1),
  };
}
