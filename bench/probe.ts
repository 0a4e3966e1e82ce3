import { fork, type ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { allParameters, countOf, isMapped, isTrained, trainedParameters, type Model, type ParameterSpec } from "../core/model/family.js";
import { elements, type FloatType } from "../core/graph/tensor.js";
import type { Capacity } from "../core/training/step-plan.js";
import type { TrainSettings } from "../engines/engine.js";
import { sharedLayout } from "../engines/onnx/layout.js";
import { activationBytes } from "../engines/onnx/needs.js";
import { createShared, mapShared, unmapShared } from "../engines/onnx/shared-memory.js";
import { MALLOC_SETTINGS } from "../workers/local-training.js";
import { watched } from "./memory.js";

/** A short look at how fast this machine trains a model: real steps of its first layers on made values, as ranks take them. */

/** What is tried. */
export interface Probe {
  readonly model: Model;
  readonly train: TrainSettings;
  readonly workers: number;
  /** lengths of a step's rows, and how many of their tokens carry loss */
  readonly rows: readonly (readonly [tokens: number, labels: number])[];
  readonly capacity: Capacity;
  readonly keepActivations: boolean;
}

/** What a probe's process is told. */
export interface ProbeInput extends Omit<Probe, "model" | "rows"> {
  readonly configJson: Model["configJson"];
  /** of the frozen base, which has adapters; null: all is trained */
  readonly type: FloatType | null;
  readonly rows: Probe["rows"];
  readonly worker: number;
  readonly layers: number;
  readonly path: string;
}

/** Seconds of a rank's step: in the blocks' graphs, the head's, the optimizer and the sums, and the rest. */
export interface ProbeTimes {
  readonly blocks: number;
  readonly head: number;
  readonly updates: number;
  readonly rest: number;
}

/** What the steps came to with few layers, while as many ranks as there are cores took theirs. */
export interface ProbeFigures {
  /** layers of the model that was tried */
  readonly layers: number;
  /** the mean of the ranks that ran at once */
  readonly times: ProbeTimes;
  /** ranks that ran at once */
  readonly ranks: number;
  /** bytes of a rank's own memory, at the most */
  readonly own: number;
}

/** Layers that are tried: two, so that one's weights push the other's out of the cache, as in the whole model. */
const LAYERS = 2;

/** The first layers of a model. */
export function firstLayers(model: Model, layers: number): Model {
  return {
    ...model,
    shape: { ...model.shape, layers },
    parameters: { ...model.parameters, blocks: model.parameters.blocks.slice(0, layers) },
  };
}

/** Trains a few steps of a model's first layers; `directory`: where the memory that the ranks share gets its file; `variables`: the environment. */
export async function probe(
  { model, workers, ...settings }: Probe,
  directory: string,
  variables: NodeJS.ProcessEnv,
): Promise<ProbeFigures> {
  const layers = Math.min(LAYERS, model.shape.layers);
  const part = firstLayers(model, layers);
  const ranks = Math.min(workers, availableParallelism());
  const path = join(directory, `roslin-probe-${process.pid}`);
  const segments = probeSegments(part, settings.train.shards, settings.capacity);
  await createShared(
    path,
    segments.reduce((sum, bytes) => sum + bytes, 0),
  );
  const children: ChildProcess[] = [];
  try {
    const frozen = mappedSpecs(part).map((spec) => spec.frozen!);
    mapShared(path, segments).forEach((view, index) => fillNoise(view, frozen[index - (segments.length - frozen.length)] ?? "float32"));
    unmapShared();
    const type = model.adapters === undefined ? null : (model.parameters.blocks[0]![0]!.frozen ?? "float32");
    for (let worker = 0; worker < ranks; worker++) {
      const input: ProbeInput = { ...settings, workers, configJson: model.configJson, type, worker, layers, path };
      const child = fork(join(import.meta.dirname, "probe-child.js"), [JSON.stringify(input)], {
        execArgv: ["--enable-source-maps"],
        env: { ...variables, ...MALLOC_SETTINGS },
      });
      children.push(child);
    }
    const { result, largest } = await watched(
      () => children.map(({ pid }) => `${pid}`),
      async () => {
        await Promise.all(children.map(said));
        const answers = children.map(said);
        for (const child of children) child.send("go");
        return (await Promise.all(answers)) as ProbeTimes[];
      },
    );
    const mean = (name: keyof ProbeTimes): number => result.reduce((sum, each) => sum + each[name], 0) / result.length;
    return {
      layers,
      ranks,
      own: largest,
      times: { blocks: mean("blocks"), head: mean("head"), updates: mean("updates"), rest: mean("rest") },
    };
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(path, { force: true });
  }
}

/** Bytes that a probe takes at the most, and those of them that its ranks share. */
export function probeBytes({ model, train, workers, capacity, keepActivations }: Probe): { readonly all: number; readonly shared: number } {
  const part = firstLayers(model, Math.min(LAYERS, model.shape.layers));
  const ranks = Math.min(workers, availableParallelism());
  const shared = probeSegments(part, train.shards, capacity).reduce((sum, bytes) => sum + bytes, 0);
  const { kept, head } = activationBytes(part, capacity);
  const states = (train.accumulation > 1 ? 20 : 12) * countOf(trainedParameters(part.parameters));
  // graphs hold a layer's weights once more where they cast them
  const graphs = 4 * Math.max(countOf(part.parameters.blocks[0]!), countOf(part.parameters.head) / train.shards);
  const own = ((states + head + (keepActivations ? kept : kept / part.shape.layers)) * ranks) / workers + ranks * (150e6 + graphs);
  return { shared, all: shared + own };
}

/** Lengths of the probe's mappings: what ranks share, then each frozen weight of its own. */
export function probeSegments(model: Model, shards: number, capacity: Capacity): number[] {
  return [...sharedLayout(model, shards, capacity).segments, ...mappedSpecs(model).map(mappedBytes)];
}

/** The weights that ranks use where they lie in their files. */
export function mappedSpecs({ parameters }: Model): ParameterSpec[] {
  return allParameters(parameters).filter((spec) => !isTrained(spec) && isMapped(spec));
}

function mappedBytes({ shape, frozen }: ParameterSpec): number {
  return Math.ceil((elements(shape) * (frozen === "float32" ? 4 : 2)) / 65536) * 65536;
}

/** Numbers of about 0.02 of either sign, as words of 32 bits: one fp32, or two halves. */
const NOISE: Readonly<Record<FloatType, readonly [value: number, varied: number]>> = {
  float32: [0x3c800000, 0x80ffffff],
  float16: [0x24002400, 0x83ff83ff],
  bfloat16: [0x3c803c80, 0x80ff80ff],
};

function fillNoise(view: ArrayBuffer, type: FloatType): void {
  const words = new Uint32Array(view);
  const [value, varied] = NOISE[type];
  let state = 1;
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    words[at] = value | (state & varied);
  }
}

/** The next message of a child. */
function said(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", (code, signal) => reject(new Error(`a process of the probe died (${signal ?? `exit code ${code}`})`)));
  });
}
