import { figureOf, LEVEL, pairedBootstrap, ratioOf, RESAMPLES, SEED, together, type Ends, type Kind } from "./bootstrap.js";

/** The figures of an evaluation: gate, report, model card and comparisons read these, by their names. */

/** The model before and after training, and the one that `latest.json` names, if rules compare with it. */
export const MODEL_NAMES = ["base", "tuned", "live"] as const;
/** One of them. */
export type ModelName = (typeof MODEL_NAMES)[number];

/** A number of each model; of the live one only where it is compared with. */
export interface OfModels<Value> {
  readonly base: Value;
  readonly tuned: Value;
  readonly live?: Value;
}

/** What an evaluation task found for one figure, item by item. */
export interface Measured {
  /** `perplexity`, `rougeL`, `hellaswag.acc_norm`: parts are separated by full stops */
  readonly metric: string;
  readonly better: "higher" | "lower";
  readonly kind: Kind;
  /** weights, and each model's sum over the weight: nats over labels, 0 or 1 over one item */
  readonly items: readonly (OfModels<number> & { readonly weight: number })[];
}

/** One figure of each model on the same items. What is not finite is null, because JSON has no infinity. */
export interface Figure extends OfModels<number | null> {
  readonly metric: string;
  readonly better: "higher" | "lower";
  /** those that weigh something */
  readonly items: number;
  /** the tuned model's figure divided by the other's */
  readonly ratio: { readonly base: number | null; readonly live?: number | null };
  /** absent with fewer than two items */
  readonly intervals?: OfModels<JsonEnds> & {
    readonly ratio: { readonly base: JsonEnds; readonly live?: JsonEnds };
    /** share of the resamples that lies between the ends */
    readonly level: number;
    readonly resamples: number;
    readonly seed: number;
  };
}

/** The ends of an interval; null: not finite. */
export type JsonEnds = readonly [low: number | null, high: number | null];

/** Compares the models on what was measured. */
export function compare({ metric, better, kind, items }: Measured): Figure {
  const hasLive = items.some(({ live }) => live !== undefined);
  const paired = items.map(({ weight, tuned, base, live }) => ({ weight, sums: hasLive ? [tuned, base, live!] : [tuned, base] }));
  const broken = paired.findIndex(({ sums }) => sums.some(Number.isNaN));
  if (broken >= 0) throw new Error(`what was measured is not a number [metric=${metric}, item=${broken}]`);
  const weighing = paired.filter(({ weight }) => weight > 0);
  const { weight, sums } = together(weighing);
  const figure = (model: number): number | null => (weight === 0 ? null : finite(figureOf(kind, sums[model]!, weight)));
  const ratio = (model: number): number | null => (weight === 0 ? null : finite(ratioOf(kind, sums[0]!, sums[model]!, weight)));
  const found = pairedBootstrap(weighing, kind);
  return {
    metric,
    better,
    items: weighing.length,
    base: figure(1),
    tuned: figure(0),
    ...(hasLive && { live: figure(2) }),
    ratio: { base: ratio(1), ...(hasLive && { live: ratio(2) }) },
    ...(found !== null && {
      intervals: {
        base: json(found.models[1]!),
        tuned: json(found.models[0]!),
        ...(hasLive && { live: json(found.models[2]!) }),
        ratio: { base: json(found.ratios[0]!), ...(hasLive && { live: json(found.ratios[1]!) }) },
        level: LEVEL,
        resamples: RESAMPLES,
        seed: SEED,
      },
    }),
  };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function json([low, high]: Ends): JsonEnds {
  return [finite(low), finite(high)];
}
