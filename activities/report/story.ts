import { basename } from "node:path";
import type { RunConfig } from "../../core/config/schema.js";
import { readSource } from "../../core/config/source-ref.js";
import type { GptjConfig } from "../../core/model/gptj/config.js";
import { count } from "../../core/units.js";
import type { Evaluation } from "../evaluate/evaluate.js";
import type { Ledger } from "../../core/stages/ledger.js";

/** What card and report page tell of a run. But for the ledger, which the card alone tells, nothing in it depends on time or on faults. */
export interface Story {
  readonly title: string;
  readonly config: RunConfig;
  readonly model: GptjConfig;
  readonly parameters: number;
  /** one for each step */
  readonly losses: readonly number[];
  /** tokens trained on; null where training didn't say */
  readonly tokens: number | null;
  readonly evaluation: Evaluation;
  readonly descent: Descent;
  readonly stateDigest: string | null;
  readonly fingerprint: Readonly<Record<string, unknown>> | null;
  /** training's own records; null where it left none */
  readonly ledger: Ledger | null;
  /** digests of the inputs, by name */
  readonly digests: Readonly<Record<string, string>>;
}

/** What a published model hands on to those that are tuned from it, as its manifest has it. */
export interface Descent {
  /** of all that it and its bases were tuned on, as the hub calls it */
  readonly licence: string;
  /** the repository on the hub that it or its bases began with; null: it began elsewhere */
  readonly baseModel: string | null;
}

/** The hub's name for data of which nobody said under what licence it is. */
export const UNKNOWN = "unknown";

const RESEARCH_ONLY = "cc-by-nc-4.0";

/** The licence that a dataset's source leaves, as the hub calls it: Alpaca and what derives from it is for research only. */
export function licenceOf(datasetSource: string): string {
  return /alpaca/i.test(datasetSource) ? RESEARCH_ONLY : UNKNOWN;
}

/** What may be done with a model, as the licence of all that it and its base were tuned on allows. */
export function consequenceOf(licence: string): string {
  return licence === RESEARCH_ONLY
    ? "What this model or its base was tuned on is Stanford Alpaca or derives from it, which is CC BY-NC 4.0: **this model is for research only, not for commercial use.**"
    : "Check the licence of your data: it decides what this model may be used for, together with the licence of the base model. (Data that derives from Stanford Alpaca is CC BY-NC 4.0: for research only.)";
}

/** The repository on the hub that a source names; null: it is elsewhere. */
export function hubId(source: string): string | null {
  const read = readSource(source);
  return "id" in read ? read.id : null;
}

/** A source as others may read it: where a local file lies is nobody's business. */
export function sourceName(source: string): string {
  const read = readSource(source);
  return "path" in read ? basename(read.path) : source;
}

/** Tokens at which rows were cut: a model that takes fewer than the settings say cuts earlier. */
export function longestRow({ config, model }: Pick<Story, "config" | "model">): number {
  return Math.min(config.preprocess.maxLength, model.positions);
}

/** One row for each thing to know about a run: name and value. */
export function facts({ config, model, parameters, losses, tokens, evaluation: { perplexity, gate, heldOut } }: Story): [string, string][] {
  const { train, preprocess } = config;
  const rows = train.shards * train.microBatch * train.accumulation;
  return [
    ["base model", sourceName(config.model.source)],
    ["data", sourceName(config.dataset.source)],
    ["parameters", `${count(parameters)} (${model.layers} layers, ${model.heads} heads, width ${model.width})`],
    ["longest row", count(longestRow({ config, model }), "token")],
    ["epochs", String(train.epochs)],
    ["steps", `${count(losses.length)} of up to ${rows} rows (${train.shards} shards × ${train.microBatch} rows × ${train.accumulation})`],
    ...(tokens === null ? [] : [["tokens trained on", count(tokens)] as [string, string]]),
    [
      "optimizer",
      `AdamW, betas ${train.betas.join(" and ")}, epsilon ${train.epsilon}, weight decay ${train.weightDecay}, gradient norm clipped to ${train.maxGradNorm}`,
    ],
    ["learning rate", `${train.learningRate}, ${train.schedule}, ${train.warmupSteps} steps of warm-up`],
    ["seed", `${train.seed} (order of rows), ${preprocess.seed} (held-out rows)`],
    ["first and last loss", losses.length === 0 ? "no step" : `${losses[0]!.toFixed(4)}, ${losses.at(-1)!.toFixed(4)}`],
    ["held-out rows", `${count(heldOut.rows)} (${count(heldOut.labels, "token")} scored)`],
    ["perplexity of the base", perplexity.base === null ? "not measured" : perplexity.base.toFixed(3)],
    ["perplexity of this model", perplexity.tuned === null ? "not measured" : perplexity.tuned.toFixed(3)],
    ["gate", gateWords(gate)],
  ];
}

/** The gate in a few words. */
export function gateWords({ judged, passed, ratio, maxPerplexityRatio }: Evaluation["gate"]): string {
  if (!judged) return "not judged: there were no held-out rows";
  return `${passed ? "passed" : "not passed"}: perplexity ratio ${ratio!.toFixed(4)}, at most ${maxPerplexityRatio}`;
}
