import { basename } from "node:path";
import { loraOf, type RunConfig } from "../../core/config/schema.js";
import { chosenSource, placeOf, readSource } from "../../core/config/source-ref.js";
import type { ModelFamily } from "../../core/model/family.js";
import { dropoutNote, type ModelShape } from "../../core/model/shape.js";
import { count, shortFigure } from "../../core/units.js";
import type { ComputedSteps, PreprocessMetrics, TrainMetrics } from "../../core/stages/metrics.js";
import type { Ends } from "../../core/stages/bootstrap.js";
import { computedWords, gateWord, intervalWords, lossEnds, splitWarning, verdictWords } from "../../core/stages/words.js";
import { ruleWords } from "../../core/stages/gate.js";
import { overrideWords, type Override } from "../../core/stages/override.js";
import type { Ledger } from "../../core/stages/ledger.js";
import { intervalIn, perplexityIn, type Evaluation } from "../evaluate/evaluation.js";
import { RESEARCH_ONLY } from "./provenance.js";
import { tableMean, taskWords } from "./task-words.js";

/** What the model card and the report page say about a run. Nothing in it depends on time or on faults, except the ledger and rates. */
export interface Story {
  readonly title: string;
  readonly config: RunConfig;
  readonly family: Pick<ModelFamily, "type" | "name">;
  readonly model: ModelShape;
  readonly parameters: number;
  /** absent: all of them were trained */
  readonly adapter?: AdapterStory | undefined;
  /** one a step; null for a step without labels */
  readonly losses: readonly (number | null)[];
  /** what else is known of each step; absent: nothing */
  readonly curves?: Curves | undefined;
  /** tokens trained on; null where training didn't say */
  readonly tokens: number | null;
  readonly evaluation: Evaluation;
  /** of a gate that was not passed; null: there is none */
  readonly override?: Override | null;
  /** how an answer is asked for; null: the model has no tokenizer, because its rows came as tokens */
  readonly prompt: Asking | null;
  /** what preprocessing came to; null where it left no figures */
  readonly prepared: Partial<PreprocessMetrics> | null;
  readonly descent: Descent;
  readonly stateDigest: string | null;
  readonly fingerprint: Readonly<Record<string, unknown>> | null;
  /** which steps were computed how; absent when all were computed in the same way */
  readonly computed?: readonly ComputedSteps[] | undefined;
  /** training's own records; null where it left none */
  readonly ledger: Ledger | null;
  /** digests of the inputs, by name */
  readonly digests: Readonly<Record<string, string>>;
}

/** What the page says of a run, which may not have come to its end: null is what is not there yet. */
export interface ReportStory extends Omit<Story, "family" | "model" | "parameters" | "evaluation" | "descent"> {
  readonly family: Story["family"] | null;
  readonly model: ModelShape | null;
  readonly parameters: number | null;
  readonly evaluation: Evaluation | null;
  readonly descent: Descent | null;
  /** what the run is doing, or why it ended early; absent: it is finished */
  readonly unfinished?: string | undefined;
  /** steps that it will have; absent: as many as there are */
  readonly totalSteps?: number | undefined;
}

/** Figures of steps besides the loss. */
export type Curves = Partial<Pick<TrainMetrics, "gradientNorms" | "rates" | "evaluations">>;

/** Adapters that were trained beside a frozen base. */
export interface AdapterStory {
  readonly modules: number;
  /** parameters of theirs */
  readonly trained: number;
  /** whether they are published merged into the base */
  readonly merged: boolean;
  /** the base, as others find it: the hub's name of a repository, or an address; null: it lay on a machine */
  readonly base: string | null;
}

/** How the model is asked for an answer. */
export interface Asking {
  /** the text for the instruction INSTRUCTION */
  readonly request: string;
  /** what ends an answer */
  readonly stop: string;
}

/** What a published model passes on to models that are tuned from it; a part of its manifest. */
export interface Descent {
  /** of everything that it and its bases were tuned on, by the hub's name */
  readonly licence: string;
  /** the repository on the hub that it or its bases began with; null: it began elsewhere */
  readonly baseModel: string | null;
}

/** What the licence of the data allows the model to be used for. */
export function consequenceOf(licence: string): string {
  return licence === RESEARCH_ONLY
    ? "This model or its base was tuned on data that is licensed under CC BY-NC 4.0, as Stanford Alpaca and what derives from it are: **this model is for research only, not for commercial use.**"
    : "Check the licences of your data and of the base model: they decide what this model may be used for. (Data that derives from Stanford Alpaca is licensed under CC BY-NC 4.0: for research only.)";
}

/** The repository on the hub that a source names; null when the source is elsewhere. */
export function hubId(source: string): string | null {
  const read = readSource(source);
  return "id" in read ? read.id : null;
}

/** A source as others may read it: without the directory of a local file, which is nobody's business. */
export function sourceName(source: string): string {
  const read = readSource(source);
  return "path" in read ? `${basename(read.path)}${source.slice(placeOf(source).length)}` : source;
}

/** Tokens at which rows were cut: the settings' limit, or the model's positions if they are fewer. */
export function longestRow({ config, model }: Pick<Story, "config" | "model">): number {
  return Math.min(config.preprocess.maxLength, model.positions);
}

/** A run's settings and figures, as rows of name and value. */
export function facts({
  config,
  model,
  parameters,
  adapter,
  losses,
  tokens,
  evaluation,
  prepared,
  computed,
  override,
}: ReportStory): [string, string][] {
  const { train, preprocess } = config;
  const rows = train.shards * train.microBatch * train.accumulation;
  const ends = lossEnds(losses);
  const dropout = model === null ? null : dropoutNote(model);
  return [
    ["base model", sourceName(config.model.source)],
    ["data", sourceName(chosenSource(config.dataset))],
    ...(model === null || parameters === null
      ? []
      : [["parameters", `${count(parameters)} (${model.layers} layers, ${model.heads} heads, width ${model.width})`] as [string, string]]),
    ...adapterFacts(config, adapter),
    ...rowFacts(prepared ?? {}),
    ["prompt", typeof preprocess.prompt === "string" ? preprocess.prompt : JSON.stringify(preprocess.prompt.template)],
    ...(model === null ? [] : [["longest row", count(longestRow({ config, model }), "token")] as [string, string]]),
    ["epochs", String(train.epochs)],
    ["steps", `${count(losses.length)} of up to ${rows} rows (${train.shards} shards × ${train.microBatch} rows × ${train.accumulation})`],
    ...(tokens === null ? [] : [["tokens trained on", count(tokens)] as [string, string]]),
    ...(computed === undefined ? [] : [["computed by", computedWords(computed)] as [string, string]]),
    [
      "optimizer",
      `AdamW, betas ${train.betas.join(" and ")}, epsilon ${train.epsilon}, weight decay ${train.weightDecay}, gradient norm clipped to ${train.maxGradNorm}`,
    ],
    ["learning rate", `${train.learningRate}, ${train.schedule}, ${train.warmupSteps} steps of warm-up`],
    ...(dropout === null ? [] : [["dropout", dropout] as [string, string]]),
    ["seed", `${train.seed} (order of rows), ${preprocess.seed} (held-out rows)`],
    [
      "first and last loss",
      ends === null
        ? losses.length === 0
          ? "no step"
          : "no step has labels"
        : `${Number(ends.first).toFixed(4)}, ${Number(ends.last).toFixed(4)}`,
    ],
    ...(evaluation === null ? [] : evaluationFacts(evaluation, override)),
  ];
}

/** What the evaluation found. */
function evaluationFacts(evaluation: Evaluation, override: Story["override"]): [string, string][] {
  const { heldOut, tasks = {} } = evaluation;
  const { base, tuned } = perplexityIn(evaluation);
  const interval = intervalIn(evaluation);
  return [
    ["held-out rows", `${count(heldOut.rows)} (${count(heldOut.labels, "token")} scored)`],
    ["perplexity of the base", perplexityText(base, interval?.base)],
    ["perplexity of this model", perplexityText(tuned, interval?.tuned)],
    ...(interval === null ? [] : [ratioFact(evaluation.gate.ratio, interval)]),
    ...Object.entries(tasks).map(([name, report]): [string, string] => [name, taskWords(name, report, evaluation)]),
    ...tableMean(evaluation),
    ["gate", gateWords(evaluation, override)],
  ];
}

/** How adapters were made, if there are any. */
function adapterFacts({ train }: RunConfig, adapter: AdapterStory | undefined): [string, string][] {
  const lora = loraOf(train);
  if (lora === null || adapter === undefined) return [];
  const { rank, alpha, dropout, targets, exclude, rankPattern, alphaPattern, rsLora } = lora;
  const others = [
    ...(exclude === null ? [] : [`none of ${JSON.stringify(exclude)}`]),
    ...(Object.keys(rankPattern).length === 0 ? [] : [`ranks ${JSON.stringify(rankPattern)}`]),
    ...(Object.keys(alphaPattern).length === 0 ? [] : [`alphas ${JSON.stringify(alphaPattern)}`]),
    ...(rsLora ? ["rank-stabilized"] : []),
  ];
  const settings = [`rank ${rank}`, `alpha ${alpha}`, `dropout ${dropout}`, `targets ${JSON.stringify(targets)}`, ...others];
  return [
    ["method", `LoRA: ${settings.join(", ")}; the base is frozen${adapter.merged ? ", and published with the adapters merged" : ""}`],
    ["trained parameters", `${count(adapter.trained)} in ${count(adapter.modules, "adapter")}`],
  ];
}

/** What became of the rows, and of their columns. */
function rowFacts(prepared: Partial<PreprocessMetrics>): [string, string][] {
  const {
    trainRows,
    testRows,
    dropped = 0,
    rejected = 0,
    withoutLoss = 0,
    truncated = 0,
    usedColumns,
    unusedColumns,
    tokenizerNote,
  } = prepared;
  const warning = splitWarning(prepared);
  const left = [
    [dropped, "dropped for an empty response"],
    [withoutLoss, "left out because no token carries loss"],
    [rejected, "rejected"],
    [truncated, "cut"],
  ] as const;
  const others = left.flatMap(([rows, what]) => (rows === 0 ? [] : [`${count(rows)} ${what}`]));
  return [
    ...(trainRows === undefined || testRows === undefined
      ? []
      : [["rows", [`${count(trainRows)} trained on`, `${count(testRows)} held out`, ...others].join(", ")] as [string, string]]),
    ...(warning === undefined ? [] : [["warning", warning] as [string, string]]),
    ...(usedColumns === undefined ? [] : [["columns", usedColumns] as [string, string]]),
    ...(unusedColumns === undefined ? [] : [["columns not used", unusedColumns] as [string, string]]),
    ...(tokenizerNote === undefined ? [] : [["tokenizer", tokenizerNote] as [string, string]]),
  ];
}

function perplexityText(value: number | null, ends?: Ends): string {
  const figure = value === null ? "not measured" : value === Infinity ? "infinite" : value.toFixed(3);
  return ends === undefined ? figure : `${figure} (${intervalWords(ends)})`;
}

/** The one figure that says what training did, and how sure it is. */
function ratioFact(ratio: number | null, { resamples, ratio: ends }: NonNullable<ReturnType<typeof intervalIn>>): [string, string] {
  const figure = shortFigure(ratio);
  return [
    "perplexity of this model / of the base",
    `${figure} (${intervalWords(ends)}: ${verdictWords(ends)}), by a paired bootstrap of the held-out rows, ${count(resamples, "resample")}`,
  ];
}

/** The gate in a few words: whether it passed, and why. */
export function gateWords({ gate, heldOut }: Pick<Evaluation, "gate" | "heldOut">, override: Override | null = null): string {
  const { judged, passed, ratio, maxPerplexityRatio, rules = [], tasks = {} } = gate;
  if (!judged) return "not judged: there were no held-out rows";
  // the ratio of infinite perplexities is null in the file
  const compared = `perplexity ratio ${shortFigure(ratio)}, at most ${maxPerplexityRatio}`;
  const ruled = rules.map((rule) => `${ruleWords(rule)}${rule.passed ? "" : " (not passed)"}`);
  const others = Object.entries(tasks).map(([name, verdict]) => `${name} ${gateWord(verdict)}`);
  const head = passed ? "passed" : override === null ? "not passed" : "not passed, and overridden";
  const decided = override === null ? "" : `; ${overrideWords(override)}`;
  return `${head}: ${[...(heldOut.labels > 0 ? [compared] : []), ...ruled, ...others].join("; ")}${decided}`;
}
