import { spawn, type ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { elements } from "../../core/graph/tensor.js";
import { messageOf, UserError } from "../../core/errors.js";
import type { TokenSplit } from "../../core/rows/token-rows.js";
import { learningRateAt } from "../../core/training/learning-rate.js";
import { evaluatesAfter, planEvaluation, planStep, type StepPlan } from "../../core/training/step-plan.js";
import { openTokens } from "../../infra/dataset/tokens.js";
import { ModelFiles } from "../../infra/weights/model-files.js";
import { trainedModel } from "../../infra/weights/trained-model.js";
import type { Compute, ComputeEvent, Directive, RankInput, TensorCopy } from "../engine.js";
import { nonFiniteError } from "../non-finite.js";
import type { EngineEnvironment } from "./environment.js";
import { writeInitialAdapter } from "./initial-adapter.js";
import { stateBytes } from "./needs.js";
import { NumberPipe } from "./number-pipe.js";
import { beginOrder, evaluateOrders, stepOrder, type DeepSpeedSetup } from "./orders.js";
import { makeSwap, rankSwap, swapOf, swaps } from "./swap.js";
import { StderrTail } from "./stderr-tail.js";
import type { Order, Word } from "./wire.js";

/** A rank's Python process: what is ordered from it, and what it says. */

/** Which file the process finds its pipe for numbers at: 0 to 2 are the usual ones, 3 is the whereabouts. */
const NUMBERS = 4;

const BEAT_MS = 1000;
/**
 * Beats without a word after which a process is frozen: one that lives says so every second, whatever it computes, loads or
 * saves. A clock would count the time for which this process was stopped itself.
 */
const SILENT_BEATS = 45;

/** Starts a rank's process; `hear` is not called before this has returned. */
export function startProcess(
  environment: () => Promise<EngineEnvironment>,
  program: string,
  rank: RankInput<DeepSpeedSetup>,
  hear: (event: ComputeEvent) => void,
): Compute {
  return new RankProcess(program, rank, hear).start(environment);
}

class RankProcess {
  private readonly program: string;
  private readonly rank: RankInput<DeepSpeedSetup>;
  private readonly hear: (event: ComputeEvent) => void;
  private child: ChildProcess | null = null;
  private split: TokenSplit | null = null;
  /** the step that the process works on or will work on next, and its index */
  private plan: StepPlan | null = null;
  private step = 0;
  /** the test rows, if their loss is to be measured; and the barrier after which it is */
  private heldOut: StepPlan | null = null;
  private evaluatesAt = 0;
  /** words that work goes on */
  private moves = 0;
  /** beats since the process said something; null: it is still loading its libraries */
  private silence: number | null = null;
  private aborted = false;
  private setBegun: () => void = () => undefined;
  /** resolves when the process has its first order */
  private readonly begun = new Promise<void>((resolve) => (this.setBegun = resolve));
  /** it has said why it failed, and its traceback is worth printing */
  private failed = false;

  constructor(program: string, rank: RankInput<DeepSpeedSetup>, hear: (event: ComputeEvent) => void) {
    this.program = program;
    this.rank = rank;
    this.hear = hear;
  }

  start(environment: () => Promise<EngineEnvironment>): Compute {
    const ended = this.run(environment).catch((error: unknown) => {
      const { name, message } = { name: (error as Error).name, message: messageOf(error) };
      if (!this.aborted) this.hear({ kind: "failed", name, message });
      this.child?.kill("SIGKILL");
      return message;
    });
    return {
      release: (barrier, directive) => this.release(barrier, directive),
      tell: (word) => {
        // the first rank's process knows; others may still look for their Python
        if (this.rank.worker > 0) void this.begun.then(() => this.say({ kind: "meet", word }));
      },
      abort: () => {
        this.aborted = true;
        this.child?.kill("SIGKILL");
      },
      moved: () => this.moves,
      ended,
    };
  }

  /** Resolves when the process has ended and all that it said has been heard, to how it ended. */
  private async run(environment: () => Promise<EngineEnvironment>): Promise<string> {
    const { python } = await environment();
    const { setup, train, worker, workers, directory, resume } = this.rank;
    const files = new ModelFiles(this.rank.model);
    const model = trainedModel(files, train);
    // with adapters of a checkpoint, or none, nothing is begun with but files that are there
    const adapter =
      model.adapters === undefined || resume !== null ? null : join(directory, `${setup.prefix}.adapter${worker}.safetensors`);
    if (adapter === null) files.close();
    else await writeInitialAdapter(adapter, model, files, train.seed);
    const tokens = await openTokens(this.rank.tokens);
    this.split = tokens.train;
    const heldOut = train.evalEverySteps === null ? null : planEvaluation(tokens.test, train);
    this.heldOut = heldOut?.positions === 0 ? null : heldOut;
    this.plan = this.planOf(this.rank.resumeStep);
    if (this.aborted) return "it was not started";
    const swap = swapOf(train, directory, setup.prefix);
    if (swaps(train)) makeSwap(swap, worker, stateBytes(model, train).nvme / workers);
    // isolated: no other environment's packages; no files beside the program
    const child = spawn(python, ["-I", "-B", this.program], { stdio: ["pipe", "pipe", "pipe", this.rank.whereabouts, "pipe"] });
    this.child = child;
    const stderr = new StderrTail(child.stderr!);
    const closed = new Promise<string>((resolve) =>
      child
        .once("error", (error) => resolve(`its compute process did not start: ${error.message}`))
        .once("close", (code, signal) => {
          if (this.failed) stderr.print();
          resolve(this.frozen() ?? `its compute process ended (${signal ?? `exit code ${code}`})${stderr.lastLine()}`);
        }),
    );
    // what is said to a process that has died is answered by its end
    child.stdin!.on("error", () => undefined);
    const beat = setInterval(() => this.beat(child), BEAT_MS);
    try {
      this.say(beginOrder(this.rank, model, adapter));
      this.setBegun();
      await this.listen(child);
      return await closed;
    } finally {
      clearInterval(beat);
      if (swaps(train)) rmSync(rankSwap(swap, worker), { recursive: true, force: true });
      if (adapter !== null) rmSync(adapter, { force: true });
    }
  }

  /** Ends a process that is frozen: the others may be waiting for it, at a barrier or where no collective's timeout counts. */
  private beat(child: ChildProcess): void {
    if (this.silence !== null) this.silence++;
    if (this.frozen() !== null) child.kill("SIGKILL");
  }

  private frozen(): string | null {
    const beats = this.silence ?? 0;
    return beats > SILENT_BEATS ? `its compute process was frozen: it said nothing for ${SILENT_BEATS} s` : null;
  }

  private async listen(child: ChildProcess): Promise<void> {
    const numbers = new NumberPipe(child.stdio[NUMBERS] as Readable);
    try {
      for await (const line of createInterface({ input: child.stdout! })) {
        const word = this.aborted ? null : wordIn(line);
        if (word === null) continue;
        this.silence = 0;
        if (word.kind !== "alive") this.moves++;
        const event = word.kind === "shard" ? await this.shard(word, numbers) : this.eventOf(word);
        if (event !== null && !this.aborted) this.hear(event);
      }
    } finally {
      numbers.close();
    }
  }

  /** What the others hear of a word; null: nothing. */
  private eventOf(word: Exclude<Word, { kind: "shard" }>): ComputeEvent | null {
    switch (word.kind) {
      case "alive":
      case "moved":
        return null;
      case "meet":
        return { kind: "tell", word: word.word };
      case "arrive": {
        const { barrier, evaluates } = word;
        if (evaluates) this.evaluatesAt = barrier;
        if (word.end === undefined) return { kind: "arrive", barrier, ...(evaluates && { evaluates }) };
        const { stepsDone, loss, norm, lossScale, seconds, spent, evaluation } = word.end;
        const { tokens, positions: labels, rows } = this.plan!;
        this.plan = stepsDone < this.rank.totalSteps ? this.planOf(stepsDone) : null;
        const measured = evaluation !== null && { evaluation: { ...evaluation, labels: this.heldOut!.positions } };
        const record = { loss, norm, ...(lossScale !== null && { lossScale }), seconds, spent, tokens, labels, rows, ...measured };
        return { kind: "arrive", barrier, end: { stepsDone, record } };
      }
      case "done":
        return word;
      case "notFinite": {
        const error = nonFiniteError(this.plan!, word.step, word, new Set(word.shards));
        return { kind: "failed", name: error.name, message: error.message };
      }
      case "failed": {
        const error = this.failure(word);
        this.failed = error.name !== "PeerLostError";
        return { kind: "failed", ...error };
      }
    }
  }

  private failure({ name, message, place }: Extract<Word, { kind: "failed" }>): { readonly name: string; readonly message: string } {
    const { worker, workers, train } = this.rank;
    const who = `worker ${worker} of ${workers}`;
    if (name === "PeerLostError") return { name, message: `${who} lost another one ${place}: ${message}` };
    if (name === "UserError") return { name, message };
    if (name !== "OutOfMemory" && name !== "GpuOutOfMemory") return { name: "Error", message: `${who} failed ${place}: ${message}` };
    const { microBatch, offload } = train;
    const onGpu = name === "GpuOutOfMemory";
    const offloads = onGpu && (offload.optimizer === "none" || offload.parameters === "none");
    const error = new UserError(
      `${who} ran out of ${onGpu ? "its GPU's " : ""}memory ${place}: set train.microBatch lower and train.accumulation higher, ${offloads ? "set train.offload, " : ""}or train on more workers`,
      { microBatch, ...(onGpu && { "offload.optimizer": offload.optimizer, "offload.parameters": offload.parameters }), workers },
    );
    return { name: error.name, message: error.message };
  }

  private async shard(
    { tensors, ...word }: Extract<Word, { kind: "shard" }>,
    numbers: NumberPipe,
  ): Promise<Extract<ComputeEvent, { kind: "shard" }> | null> {
    const copies: TensorCopy[] = [];
    for (const { name, shape } of tensors) {
      const data = new Float32Array(elements(shape));
      if (!(await numbers.read(data))) return null;
      this.moves++;
      this.silence = 0;
      copies.push({ name, shape, data });
    }
    return { ...word, tensors: copies };
  }

  private release(barrier: number, directive: Directive): void {
    this.say({ kind: "release", barrier, directive });
    if (directive === "stop" || directive === "finish") return;
    if (barrier === this.evaluatesAt) return void this.evaluate();
    const { plan, step, rank, heldOut } = this;
    const evaluates = heldOut !== null && evaluatesAfter(rank.train, step + 1, rank.totalSteps);
    this.say(stepOrder(plan!, rank, step, learningRateAt(rank.train, step, rank.totalSteps), evaluates));
  }

  /** Orders the test rows, no faster than the process takes them: there may be many. */
  private async evaluate(): Promise<void> {
    for (const order of evaluateOrders(this.heldOut!, this.rank))
      if (!this.say(order)) await new Promise<void>((resolve) => this.child!.stdin!.once("drain", resolve));
  }

  private planOf(step: number): StepPlan {
    this.step = step;
    return planStep(this.split!, this.rank.train, step);
  }

  /** Whether the process takes more at once. */
  private say(order: Order): boolean {
    return this.child?.stdin?.write(`${JSON.stringify(order)}\n`) ?? true;
  }
}

/** The word in a line; null: it is the half line of a process that was killed, whose end says more. */
function wordIn(line: string): Word | null {
  try {
    return JSON.parse(line) as Word;
  } catch {
    return null;
  }
}
