import { setTimeout as sleep } from "node:timers/promises";
import { isTaskFile } from "../../core/config/evaluate.js";
import { isShared, withStore, withTarget, type RunConfig } from "../../core/config/schema.js";
import type { SignSettings } from "../../core/config/sign.js";
import { UserError } from "../../core/errors.js";
import { missingTokenizer } from "../../core/text/tokenizer-names.js";
import { countOf, trainedParameters, type Model } from "../../core/model/family.js";
import { dropoutNote } from "../../core/model/shape.js";
import { memoryNeeded, type Needs, type TrainSettings } from "../../engines/engine.js";
import type { StageResult } from "../../core/stages/results.js";
import { bytes as readable, count } from "../../core/units.js";
import type { GpuWorker, Plan, SearchAttributeName } from "../../workflows/contract.js";
import type { Published } from "../../infra/sources/published.js";
import { checkDevices } from "./device-memory.js";
import { checkPlannedLive, liveBytes, plannedLive } from "./live-model.js";
import { checkReach, checkSharedStore, type SharedPlace } from "./shared-run.js";
import { expectedModel } from "../../core/model/lora/adapter.js";
import { checkAdapters, withBase } from "../download/adapter-source.js";
import { checkTemplate, checkTokenizer, modelTokenizer, promptFor } from "../download/check-prompt.js";
import { modelConfig } from "../download/model-config.js";
import { describePlan, planLocal, planRemote, sourceOf, type Places, type SourceName, type SourcePlan } from "../download/source-plan.js";
import { planChoices } from "../evaluate/choice/plan-choices.js";
import type { LiveModels } from "../evaluate/live.js";
import { checkRules } from "../evaluate/rules.js";
import { ownQuestions } from "../evaluate/samples.js";
import { TASKS } from "../evaluate/tasks.js";
import type { Forecast } from "../forecast/forecast.js";
import type { StageContext } from "../common/stage.js";

/** What planning is handed: the place where the run would run. */
export interface PlanDependencies extends Places {
  readonly host: string;
  /** where pages about runs are served; null, absent: nowhere */
  readonly reports?: string | null;
  /** The target of a run that names none; throws UserError if there is none. */
  defaultTarget(): string;
  /** bytes: all that this process may ever use, and what is free now */
  memory(): { readonly total: number; readonly available: number };
  /** bytes free where stages keep their work, and bytes that already lie there */
  disk(): Promise<{ readonly free: number; readonly used: number; readonly directory: string }>;
  /** Throws UserError if objects cannot be written there, or cannot be kept in the way that is wanted. A sentence if the server there checks less than others. */
  checkTarget(uri: string, wanted: RunConfig["publish"], signal: AbortSignal): Promise<string | undefined>;
  /** The published model that a target names as its latest; null: none. Only asked if a rule of the gate compares with it. */
  readonly findLive: LiveModels["find"];
  readonly fetchPublished: LiveModels["fetch"];
  /** Throws UserError that names what is wrong with the key that the run signs with. A sentence if others may read it. */
  checkSigner(sign: SignSettings): Promise<string | null>;
  /** GPU workers of this host that have registered. */
  gpuWorkers(): Promise<number>;
  /** bytes of the GPU of each of them that computes on one */
  gpuMemory(): Promise<readonly number[]>;
  /** asked about shared runs only, in place of this host's workers */
  readonly shared: SharedPlace;
  /** Roslin's search attributes that the namespace knows */
  searchAttributes(): Promise<readonly SearchAttributeName[]>;
  /** what an earlier download of a config's sources left; null: none has finished */
  downloaded(config: RunConfig): Promise<StageResult | null>;
  /** what a run of a config that names its target would do with each stage */
  forecast(config: RunConfig): Promise<readonly Forecast[]>;
  /**
   * The least that the run's engine needs to train a model whose rows are not known yet; the download is not in it. Throws
   * UserError where this machine lacks what the engine computes with.
   */
  needs(model: Model, train: TrainSettings): Needs | Promise<Needs>;
}

/** A parameter in the ONNX export and in what is published, in fp32; and merged, as training writes it of a whole model. */
const PUBLISHED_BYTES = 2 * 4;
const MERGED_BYTES = 4;

/** Bytes that publishing needs beside training's: of adapters alone there is no export, and training has written them already. */
export function publishedBytes({ parameters }: Needs, { train, publish }: RunConfig): number {
  if (train.method !== "lora") return parameters * PUBLISHED_BYTES;
  return publish.merge ? parameters * (PUBLISHED_BYTES + MERGED_BYTES) : 0;
}

/** What is trained, in a few words. */
function methodWords(model: Model): string {
  const { adapters, parameters } = model;
  if (adapters === undefined) return "";
  const trained = countOf(trainedParameters(parameters));
  return `, of which ${count(trained)} in ${count(adapters.length, "adapter")} are trained (LoRA) and the others are frozen`;
}

/** Milliseconds between looks at which workers have registered. */
const LOOK_MS = 500;

/** Fills in what depends on the place and checks that the run can work here; throws UserError with every problem, need against have. */
export async function plan(dependencies: PlanDependencies, config: RunConfig, context: StageContext): Promise<Plan> {
  const say = (note: string): void => context.progress({ stage: "plan", done: 0, total: 0, unit: "items", note });
  const problems: string[] = [];
  const notes: string[] = [];
  const check = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      // two checks may find the same
      if (!problems.includes(error.message)) problems.push(error.message);
    }
  };
  const whole = withStore(withTarget(config, dependencies.defaultTarget));
  const there = workersOf(dependencies, whole);
  const target = whole.publish.target!;
  const downloaded = await dependencies.downloaded(config);
  const look = async (name: SourceName): Promise<SourcePlan> => {
    const source = sourceOf(config, name);
    say(`looking at ${source}`);
    const own = (await planLocal(dependencies, name, source)) ?? (await planRemote(dependencies, name, source, downloaded, context.signal));
    const found = await withBase(dependencies, own, downloaded, context.signal, say);
    if (found.kind === "kept") notes.push(describePlan(found));
    if ("choice" in found && found.choice !== null) notes.push(`the dataset's ${found.choice}`);
    return found;
  };

  const checkMemory = (need: number, machines: number): void => {
    const { total, available } = dependencies.memory();
    const { hosts } = whole.train.workers;
    const asked = { model: config.model.source, need: readable(need) };
    if (need > total * hosts)
      problems.push(
        new UserError(
          hosts === 1
            ? "this machine has too little memory for the model: take a smaller one, or a larger machine"
            : "so many machines with this one's memory have too little for the model: take a smaller one, or raise train.workers.hosts",
          { ...asked, ...(hosts > 1 && { machines: hosts }), have: readable(total * hosts) },
        ).message,
      );
    else if (need > total * machines)
      notes.push(
        `the memory of ${machines} machine${machines === 1 ? "" : "s"} like this one is too little: training needs more of the ${hosts}`,
      );
    else if (need > available * machines) notes.push(`memory is short now: ${readable(available)} free of ${readable(total)}`);
    if (hosts > 1) notes.push(`only this machine's memory was looked at, not that of the others`);
  };

  let live: Published | null = null;
  await check(async () => void (live = await plannedLive(dependencies.findLive, config, target, context.signal)));
  let needs: Needs | null = null;
  let base: { readonly source: SourcePlan; readonly model: Model } | null = null;
  await check(async () => {
    const source = await look("model");
    await check(async () => void (await checkTokenizer(config, source, context.signal)));
    const { model, names, bytes } = await modelConfig(source, context.signal);
    base = { source, model };
    await checkAdapters(config, source, context.signal);
    const trained = expectedModel(model, config.train);
    needs = await dependencies.needs(trained, config.train);
    const dropout = dropoutNote(model.shape);
    if (dropout !== null) notes.push(dropout);
    const diskBytes = needs.diskBytes + publishedBytes(needs, config) + bytes + (live === null ? 0 : liveBytes(live));
    const download = source.kind === "remote" ? await source.remote.missing(source.files) : 0;
    const least =
      readable(needs.memoryBytes) + (needs.hostBytes === undefined ? "" : `, or ${readable(needs.hostBytes)} where ranks are on GPUs,`);
    notes.push(
      `${(needs.parameters / 1e6).toFixed(1)} million parameters${methodWords(trained)}; training takes at least ${least} of memory, the run ${readable(diskBytes)} of disk`,
    );
    // how much of the state is on GPUs is known when the workers are there
    if (needs.hostBytes === undefined) checkMemory(needs.memoryBytes, Math.max(1, (await there()).machines));
    const disk = await dependencies.disk();
    // what lies there may belong to this run, from before it was interrupted
    if (diskBytes + download > disk.free + disk.used)
      problems.push(
        new UserError("the disk has too little room for the run: make room, or set ROSLIN_HOME to a larger disk", {
          directory: disk.directory,
          need: readable(diskBytes + download),
          have: readable(disk.free),
        }).message,
      );
    const missing = names === null ? null : missingTokenizer(names);
    if (missing !== null) notes.push(`the model has ${missing}: only rows that have input_ids and labels can be trained on`);
    const { tasks, prompts, references } = config.evaluate;
    const texts = [
      ...(tasks === null ? [] : [["tasks", "set it to null"]]),
      ...(references === 0 ? [] : [["references", "set it to 0"]]),
      ...(prompts.length === 0 ? [] : [["prompts", "leave it out"]]),
    ];
    if (missing !== null)
      for (const [field, remedy] of texts)
        problems.push(`evaluate.${field} needs the model's tokenizer, and there is ${missing}: ${remedy}, or add the file`);
    else if (prompts.length > 0)
      await check(async () => {
        const { tokenizer } = await modelTokenizer(source, context.signal);
        const prompt = promptFor(config.preprocess.prompt, tokenizer);
        ownQuestions({ settings: config.evaluate, tokenizer, prompt, positions: model.shape.positions });
      });
  });
  await check(async () => void (await look("dataset")));
  await check(async () => checkTemplate(config));
  const planned = await planChoices(dependencies, whole, check, { signal: context.signal, say });
  // a task whose file cannot be read was named already, and its figures are not known
  if (planned.evaluate.tasks?.names.some(isTaskFile) !== true) await check(async () => checkRules(planned, TASKS));
  await check(async () => {
    if (live === null) return;
    const { name } = live.manifest;
    notes.push(`rules of the gate compare with ${config.evaluate.live === null ? `the model that latest.json names, now ${name}` : name}`);
    if (base !== null) await checkPlannedLive(dependencies.fetchPublished, live, planned, base, context.signal);
  });
  await check(async () => {
    say(`looking at ${target}`);
    const note = await dependencies.checkTarget(target, config.publish, context.signal);
    if (note !== undefined) notes.push(note);
  });
  const { sign } = config.publish;
  if (sign !== null)
    await check(async () => {
      const note = await dependencies.checkSigner(sign);
      if (note !== null) notes.push(note);
    });
  if (isShared(whole))
    await check(async () => {
      say(`looking at ${whole.train.workers.store!}`);
      notes.push(...(await checkSharedStore(dependencies.shared, whole, context.signal)));
    });
  await check(async () => {
    await waitForWorkers(dependencies.host, whole, there, context.signal, say);
    const { engine, shards } = config.train;
    const { memory, workers, machines } = await there();
    if (workers !== null) notes.push(...checkReach(dependencies.shared, whole, dependencies.host, workers));
    if (needs === null) return;
    if (needs.hostBytes !== undefined) checkMemory(memoryNeeded(needs, memory.length > 0), Math.max(1, machines));
    const note = checkDevices(engine, needs, memory, shards);
    if (note !== null) notes.push(note);
  });
  if (problems.length > 0)
    throw new UserError(
      problems.length === 1
        ? problems[0]!
        : `${problems.length} things are in the way:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
    );

  const stages = await dependencies.forecast(planned);
  const reused = stages.filter((each) => each.reused).map(({ stage }) => stage);
  const first = stages.find((each) => !each.reused);
  if (reused.length > 0) notes.push(`reused: ${reused.join(", ")}`);
  if (first !== undefined) notes.push(`from ${first.stage} on it runs: ${first.why}`);
  return {
    config: planned,
    host: dependencies.host,
    searchAttributes: await dependencies.searchAttributes(),
    notes,
    ...(dependencies.reports != null && { reportAddress: dependencies.reports }),
  };
}

/** The GPU workers that a run would have now. */
interface There {
  readonly count: number;
  /** bytes of the GPU of each that computes on one */
  readonly memory: readonly number[];
  readonly machines: number;
  /** null: the run is not shared, and they are this host's */
  readonly workers: readonly GpuWorker[] | null;
}

function workersOf(dependencies: PlanDependencies, config: RunConfig): () => Promise<There> {
  if (!isShared(config))
    return async () => ({ count: await dependencies.gpuWorkers(), memory: await dependencies.gpuMemory(), machines: 1, workers: null });
  return async () => {
    const workers = await dependencies.shared.workers(config.train);
    const memory = workers.flatMap(({ device }) => (device == null ? [] : [device.memory]));
    return { count: workers.length, memory, machines: new Set(workers.map(({ host }) => host)).size, workers };
  };
}

async function waitForWorkers(
  host: string,
  config: RunConfig,
  there: () => Promise<There>,
  signal: AbortSignal,
  say: (note: string) => void,
): Promise<void> {
  const { min, waitSeconds } = config.train.workers;
  const need = Math.min(min, config.train.shards);
  const limit = Date.now() + waitSeconds * 1000;
  for (;;) {
    const { count: have } = await there();
    if (have >= need) return;
    if (Date.now() >= limit)
      throw isShared(config)
        ? new UserError("too few GPU workers run: start them with roslin up, on more machines if train.workers.hosts allows", {
            need,
            have,
          })
        : new UserError("too few GPU workers run on this host: start them with roslin up", { host, need, have });
    say(`waiting for GPU workers: ${have} of ${need}`);
    await sleep(LOOK_MS, undefined, { signal });
  }
}
