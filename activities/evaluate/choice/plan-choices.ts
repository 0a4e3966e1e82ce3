import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chosenTasks } from "../../../core/benchmark/chosen.js";
import type { RunConfig } from "../../../core/config/schema.js";
import { chosenSource, parseSource } from "../../../core/config/source-ref.js";
import type { Places } from "../../download/source-plan.js";
import { withTaskFiles } from "./task-files.js";
import { fetchTaskData, readItems, type FetchContext } from "./task-data.js";

/**
 * Looks at a run's multiple-choice tasks before it starts: every item must be usable. Returns the config with the descriptions
 * themselves in place of their files, and with the commit of each dataset on the hub, so that all attempts score the same
 * items. `check` hears of each task's problem.
 */
export async function planChoices(
  places: Places,
  given: RunConfig,
  check: (work: () => Promise<void>) => Promise<void>,
  context: FetchContext,
): Promise<RunConfig> {
  if (given.evaluate.tasks === null) return given;
  let config: RunConfig | null = null;
  await check(async () => void (config = await withTaskFiles(given)));
  if (config === null) return given;
  const whole: RunConfig = config;
  const settings = whole.evaluate.tasks!;
  const pinned: Record<string, string> = {};
  // what the hub sends stays in its cache, and the evaluation finds it there
  const directory = await mkdtemp(join(tmpdir(), "roslin-tasks-"));
  try {
    for (const task of chosenTasks(settings))
      await check(async () => {
        const data = await fetchTaskData(places, directory, task, context);
        await readItems(task, data, settings.limit, context.signal);
        const { kind, choice = { config: null, split: null } } = parseSource(task.source);
        if (kind === "hub" && data.origin !== undefined) pinned[task.name] = chosenSource({ source: data.origin.uri, ...choice });
      });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return { ...whole, evaluate: { ...whole.evaluate, tasks: { ...settings, data: { ...settings.data, ...pinned } } } };
}
