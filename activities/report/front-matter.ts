import { writeYaml } from "../../infra/text/front-matter.js";
import type { Figure } from "../../core/stages/figures.js";
import { scoredTask } from "./eval-results.js";
import { knownDataset, knownModel } from "./provenance.js";
import { hubId, sourceName, type Story } from "./story.js";

/** What the hub reads of a card: https://github.com/huggingface/hub-docs/blob/main/modelcard.md */

/** The hub's names of metrics, and the words for them. */
const METRICS: Readonly<Record<string, readonly [type: string, name: string]>> = {
  perplexity: ["perplexity", "perplexity of the answers"],
  loss: ["loss", "loss per token of the answers"],
  exactMatch: ["exact_match", "exact match"],
  rougeL: ["rouge", "ROUGE-L"],
  acc: ["accuracy", "acc"],
  acc_norm: ["accuracy", "acc_norm"],
};

/** A metric of a model-index. */
interface Metric {
  readonly type: string;
  readonly name: string;
  readonly value: number;
}

/** The front matter of a card, with the lines around it. */
export function frontMatter(story: Story): string {
  const { config, family, adapter, descent } = story;
  const { licence, baseModel } = descent;
  const data = hubId(config.dataset.source);
  const isAlone = adapter?.merged === false;
  const other = licence === "other" ? knownModel(baseModel)?.other : undefined;
  const languages = knownDataset(config.dataset.source)?.languages;
  const index = modelIndex(story);
  const matter = {
    license: licence,
    ...(other !== undefined && { license_name: other.name, license_link: other.link }),
    ...(baseModel !== null && { base_model: baseModel }),
    // a merged adapter is a model of its own: the hub calls a mixture of several models a merge
    ...(isAlone ? { base_model_relation: "adapter" } : baseModel !== null && { base_model_relation: "finetune" }),
    ...(languages !== undefined && { language: languages }),
    ...(data !== null && { datasets: [data] }),
    library_name: isAlone ? "peft" : "transformers",
    pipeline_tag: "text-generation",
    tags: [family.type, ...(adapter === undefined ? [] : ["lora"]), "instruction-tuning", "roslin"],
    ...(index.length > 0 && { "model-index": [{ name: story.title, results: index }] }),
  };
  return `---\n${writeYaml(matter)}---\n`;
}

/** The tuned model's figures, by dataset. */
function modelIndex({ config, evaluation }: Story): object[] {
  const { figures = [], heldOut } = evaluation;
  const own = hubId(config.dataset.source) ?? sourceName(config.dataset.source);
  const revision = commitOf(config.dataset.source);
  const results = [];
  const rows = figures.filter(({ metric }) => taskOf(metric) === null).flatMap((figure) => metricOf(figure, figure.metric));
  if (rows.length > 0)
    results.push({
      task: { type: "text-generation", name: "answering instructions" },
      dataset: {
        type: own,
        name: `${own}, ${heldOut.rows} rows held out by Roslin (seed ${config.preprocess.seed})`,
        split: "held-out",
        ...(revision !== null && { revision }),
      },
      metrics: rows,
    });
  const tasks = new Set(figures.flatMap(({ metric }) => taskOf(metric) ?? []));
  for (const task of tasks) {
    const scored = scoredTask(evaluation, task);
    const metrics = figures.flatMap((figure) => (taskOf(figure.metric) === task ? metricOf(figure, partOf(figure.metric)) : []));
    if (scored === null || metrics.length === 0) continue;
    const { hub } = scored;
    const at = hub === null ? null : commitOf(`hf://${hub.id}@${hub.revision}`);
    results.push({
      task: { type: "text-generation", name: task },
      dataset: {
        type: hub?.id ?? scored.source,
        name: task,
        ...(scored.config !== null && { config: scored.config }),
        ...(scored.split !== null && { split: scored.split }),
        ...(at !== null && { revision: at }),
        ...(config.evaluate.tasks?.limit != null && { args: { limit: config.evaluate.tasks.limit } }),
      },
      metrics,
    });
  }
  return results;
}

/** The task whose figure a metric is; null: of the held-out rows. */
function taskOf(metric: string): string | null {
  return /^(.+)\.acc(_norm)?$/.exec(metric)?.[1] ?? null;
}

const partOf = (metric: string): string => metric.slice(metric.lastIndexOf(".") + 1);

/** Nothing where the figure is not finite, because the hub takes numbers only. */
function metricOf({ tuned }: Figure, metric: string): Metric[] {
  if (tuned === null) return [];
  const [head, ...parts] = metric.split(".");
  const [type, name] = METRICS[head!] ?? [head!, head!];
  return [{ type, name: [name, ...parts].join(", "), value: Number(tuned.toPrecision(6)) }];
}

function commitOf(source: string): string | null {
  return /^hf:\/\/[^@?]+@([0-9a-f]{40})(\?|$)/.exec(source)?.[1] ?? null;
}
