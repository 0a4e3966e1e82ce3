import { parseSource, type HubRef } from "../../core/config/source-ref.js";
import { writeYaml } from "../../infra/text/front-matter.js";
import type { Evaluation } from "../evaluate/evaluation.js";
import type { Story } from "./story.js";

/** What the hub lists of a model beside benchmarks: `.eval_results/<task>.yaml`, which the page of a registered benchmark collects. */

/**
 * Registered benchmarks of multiple choice, by dataset, with the hub's name of the task for each configuration. The seven tasks of
 * Dolly's table are not registered.
 */
const REGISTERED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "Idavidrein/gpqa": { gpqa_diamond: "gpqa_diamond" },
  "TIGER-Lab/MMLU-Pro": { default: "mmlu_pro" },
};

/** A multiple-choice task that was scored, and where its items came from. */
export interface Scored {
  readonly task: string;
  readonly items: number;
  /** null: not from the hub */
  readonly hub: HubRef | null;
  readonly config: string | null;
  readonly split: string | null;
  /** as an evaluation's report names it */
  readonly source: string;
}

/** The multiple-choice task whose report an evaluation has; null: none has this name, or it says nothing of its items. */
export function scoredTask({ tasks = {} }: Pick<Evaluation, "tasks">, task: string): Scored | null {
  const { items, data } = (tasks[task] ?? {}) as { readonly items?: number; readonly data?: { readonly source?: string } };
  if (items === undefined || data?.source === undefined) return null;
  const ref = data.source.includes("://") ? parseSource(data.source) : null;
  const { config = null, split = null } = ref?.choice ?? {};
  return { task, items, hub: ref?.kind === "hub" ? ref : null, config, split, source: data.source };
}

/** The files for the registered benchmarks that were scored with every item, by name. */
export function evalResults({ evaluation, config }: Pick<Story, "evaluation" | "config">): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  if (config.evaluate.tasks?.limit != null) return files;
  for (const { metric, tuned } of evaluation.figures ?? []) {
    const [, name] = /^(.*)\.acc$/.exec(metric) ?? [];
    const scored = name === undefined ? null : scoredTask(evaluation, name);
    if (scored?.hub == null || tuned === null) continue;
    const { id, revision } = scored.hub;
    const task = REGISTERED[id]?.[scored.config ?? "default"];
    if (task === undefined) continue;
    const dataset = { id, task_id: task, ...(/^[0-9a-f]{40}$/.test(revision) && { revision }) };
    const notes = "zero-shot, the choice with the highest log-likelihood";
    // in per cent, as the benchmarks' pages have it
    files.set(`.eval_results/${scored.task}.yaml`, writeYaml([{ dataset, value: Number((tuned * 100).toFixed(2)), notes }]));
  }
  return files;
}
