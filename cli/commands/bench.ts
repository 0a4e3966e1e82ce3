import { parseArgs } from "node:util";
import { benchCheckpoint, showCheckpoint } from "../../bench/checkpoint.js";
import { benchDownload, showDownload } from "../../bench/download.js";
import { benchGenerate, showGenerate } from "../../bench/generate.js";
import { DATASET_JOB, DEFAULT_JOB, ENGINE_JOB, SIZES, type Job } from "../../bench/job.js";
import { benchLora, showLora } from "../../bench/lora.js";
import { PEERS, type PeerName } from "../../bench/pytorch.js";
import { benchMemory, showMemory } from "../../bench/memory.js";
import { benchPreprocess, showPreprocess } from "../../bench/preprocess.js";
import { inDirectory } from "../../bench/run.js";
import { benchPublish, showPublish } from "../../bench/publish.js";
import { benchScale, showScale } from "../../bench/scale.js";
import { benchSideBySide, CONTENDERS, showSideBySide } from "../../bench/side-by-side.js";
import { benchTrain, showTrain } from "../../bench/train.js";
import { UserError } from "../../core/errors.js";
import { chooseGpus } from "../../infra/gpu/choose-gpus.js";
import type { Environment } from "../../workers/environment.js";
import { wholeNumber, type Command } from "../shell/command.js";
import { Interrupted, untilInterrupted } from "../shell/interrupt.js";

const KINDS = ["train", "lora", "memory", "checkpoint", "scale", "download", "preprocess", "publish", "generate"] as const;
const JOB_OPTIONS = ["width", "layers", "heads", "rotary", "vocabulary", "length", "rows"] as const satisfies readonly Exclude<
  keyof Job,
  "dataset"
>[];
const OPTIONS = [
  ...JOB_OPTIONS,
  ...([
    "dataset",
    "engine",
    "workers",
    "rounds",
    "steps",
    "against",
    "peers",
    "interval",
    "checkpoints",
    "sizes",
    "gib",
    "dir",
    "model",
    "rank",
    "tokens",
  ] as const),
] as const;
type Values = Readonly<Partial<Record<(typeof OPTIONS)[number], string>>> & { readonly json?: boolean; readonly gpus?: boolean };

export const bench: Command = {
  name: "bench",
  summary: "measure this machine: training's speed, memory and checkpoints; downloads, tokens and uploads beside those of other programs",
  usage: [
    `bench train [--workers N] [--rounds R] [--steps S] [--against PYTHON [--peers ${PEERS.join(",")}]] [JOB]`,
    "              bench train --engine deepspeed [--gpus] [--workers N] [--rounds R] [--steps S] [JOB]: beside ONNX Runtime, with a kill",
    "              bench lora --model DIR --dataset FILE [--against PYTHON with peft] [--rank R] [--rows N] [--length N] [--workers N] [--rounds R] [--steps S]",
    "              bench memory [--sizes 5,25,77] [--workers 1,2,4,8]",
    "              bench scale [--workers N] [--steps S]: time against layers, width, sequence and batch",
    "              bench checkpoint [--workers N] [--interval STEPS] [--checkpoints N] [JOB]",
    "              bench download [--gib N] [--rounds R] [--against PYTHON with huggingface_hub]: against curl",
    "              bench preprocess [--rows N] [--workers N] [--rounds R] [--against PYTHON with datasets]: rows a second",
    "              bench publish [--gib N] [--rounds R] [--against aws,s5cmd]: uploads to a local S3 server, in --dir",
    "              bench generate [--model DIR] [--against PYTHON] [--rounds R] [--tokens N] [JOB]: new tokens a second of one sequence and of eight",
    `JOB: ${JOB_OPTIONS.map((name) => `--${name} ${DEFAULT_JOB[name]}`).join(" ")}`,
    `     --dataset FILE in Alpaca's format, batched as Dolly did: then --length ${DATASET_JOB.length} --rows ${DATASET_JOB.rows}`,
    `     --engine: the demo's model, so --width ${ENGINE_JOB.width} --layers ${ENGINE_JOB.layers} --heads ${ENGINE_JOB.heads} --rows ${ENGINE_JOB.rows}`,
    "PYTHON: one that has torch and transformers, for bench lora PEFT as well; its steps are taken in turn with ours, on the same rows",
    `sizes, in millions of parameters: ${Object.keys(SIZES).join(" ")}`,
    "all: [--dir DIR for temporary files] [--json]",
  ].join("\n"),
  async run(args, environment) {
    const options = {
      ...Object.fromEntries(OPTIONS.map((name) => [name, { type: "string" as const }])),
      json: { type: "boolean" as const },
      gpus: { type: "boolean" as const },
    };
    const { values: given, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    const values = given as Values;
    const kind = KINDS.find((known) => known === positionals[0]);
    if (kind === undefined || positionals.length > 1)
      throw new UserError("name one bench", { expected: KINDS.join(" "), got: positionals.join(" ") });
    checkEngine(kind, values);
    const work = (signal: AbortSignal) => inDirectory(values.dir, (directory) => measure(kind, values, directory, environment, signal));
    const report = await untilInterrupted(work).catch((error: unknown) => {
      throw error instanceof Interrupted ? new Error("interrupted; nothing was kept") : error;
    });
    console.log(values.json === true ? JSON.stringify(report.figures) : report.text);
    return 0;
  },
};

/** Runs one bench in a directory; progress goes to standard error. */
async function measure(
  kind: (typeof KINDS)[number],
  values: Values,
  directory: string,
  { variables, tools }: Environment,
  signal: AbortSignal,
): Promise<{ figures: unknown; text: string }> {
  const number = (name: (typeof OPTIONS)[number], otherwise: number): number =>
    values[name] === undefined ? otherwise : wholeNumber(`--${name}`, values[name]);
  const list = (name: "sizes" | "workers" | "peers", otherwise: string): string[] => (values[name] ?? otherwise).split(",");
  const usual = values.engine === undefined ? { ...DEFAULT_JOB, ...(values.dataset !== undefined && DATASET_JOB) } : ENGINE_JOB;
  const job: Job = {
    ...(Object.fromEntries(JOB_OPTIONS.map((name) => [name, number(name, usual[name])])) as Record<(typeof JOB_OPTIONS)[number], number>),
    dataset: values.dataset ?? null,
  };
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  switch (kind) {
    case "train": {
      if (values.engine !== undefined) {
        const gpus = values.gpus === true ? await chooseGpus(variables, values.workers === undefined ? null : number("workers", 0)) : [];
        const options = {
          contenders: CONTENDERS,
          workers: gpus.length > 0 ? gpus.length : number("workers", 2),
          rounds: number("rounds", 3),
          steps: number("steps", 4),
          gpus,
        };
        const figures = await benchSideBySide(job, options, directory, signal, say);
        return { figures, text: showSideBySide(figures) };
      }
      const figures = await benchTrain(
        job,
        {
          workers: number("workers", 8),
          rounds: number("rounds", 3),
          steps: number("steps", 3),
          python: values.against ?? null,
          peers: values.against === undefined ? [] : peersNamed(list("peers", PEERS.join(","))),
        },
        directory,
        signal,
        say,
      );
      return { figures, text: showTrain(job, figures) };
    }
    case "lora": {
      // an empty value, as from an unset shell variable, would mean the working directory
      if (!values.model || !values.dataset) throw new UserError("bench lora needs --model DIR and --dataset FILE in Alpaca's format");
      const options = {
        model: values.model,
        dataset: values.dataset,
        length: number("length", 512),
        rows: number("rows", 1),
        rank: number("rank", 16),
        workers: number("workers", 8),
        rounds: number("rounds", 3),
        steps: number("steps", 3),
        python: values.against ?? null,
      };
      const figures = await benchLora(options, directory, signal, say);
      return { figures, text: showLora(options, figures) };
    }
    case "memory": {
      const workers = list("workers", "1,2,4,8").map((each) => wholeNumber("--workers", each));
      const figures = await benchMemory(list("sizes", "5,25,77"), workers, directory, signal, say);
      return { figures, text: showMemory(figures) };
    }
    case "scale": {
      const figures = await benchScale({ workers: number("workers", 8), steps: number("steps", 6) }, directory, signal, say);
      return { figures, text: showScale(figures) };
    }
    case "download": {
      const options = { gib: number("gib", 1), rounds: number("rounds", 3), python: values.against ?? null };
      const figures = await benchDownload(options, variables, directory, signal, say);
      return { figures, text: showDownload(figures) };
    }
    case "preprocess": {
      const options = {
        rows: number("rows", 52_002),
        workers: number("workers", 2),
        rounds: number("rounds", 5),
        python: values.against ?? null,
      };
      const figures = await benchPreprocess(options, directory, signal, say);
      return { figures, text: showPreprocess(figures) };
    }
    case "publish": {
      const peers = values.against?.split(",") ?? [];
      const options = { gib: number("gib", 2), rounds: number("rounds", 3), peers };
      const figures = await benchPublish(options, variables, tools, directory, signal, say);
      return { figures, text: showPublish(figures) };
    }
    case "generate": {
      if (values.model === "") throw new UserError("--model must name a directory");
      const options = {
        model: values.model ?? null,
        job,
        rounds: number("rounds", 5),
        tokens: number("tokens", 64),
        python: values.against ?? null,
      };
      const figures = await benchGenerate(options, directory, signal, say);
      return { figures, text: showGenerate(figures) };
    }
    case "checkpoint": {
      const options = { workers: number("workers", 8), interval: number("interval", 3), count: number("checkpoints", 3) };
      const figures = await benchCheckpoint(job, options, directory, signal, say);
      return { figures, text: showCheckpoint(figures) };
    }
  }
}

/** Throws UserError if the options that compare engines are given where nothing reads them. */
function checkEngine(kind: (typeof KINDS)[number], { engine, gpus, against, peers }: Values): void {
  if (engine === undefined && gpus !== true) return;
  if (engine !== "deepspeed")
    throw new UserError("--engine and --gpus compare DeepSpeed with ONNX Runtime", {
      field: "--engine",
      expected: "deepspeed",
      got: engine,
    });
  if (kind !== "train" || against !== undefined || peers !== undefined)
    throw new UserError("--engine goes with bench train, and without --against and --peers", { got: kind });
}

function peersNamed(names: readonly string[]): PeerName[] {
  return names.map((name) => {
    const known = PEERS.find((peer) => peer === name);
    if (known === undefined) throw new UserError("there is no such peer", { field: "--peers", expected: PEERS.join(" "), got: name });
    return known;
  });
}
