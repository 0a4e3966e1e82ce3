import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { inputsFrom, OUTPUTS, STAGES, type StageName, type StageResult } from "../../core/stages/results.js";
import type { StageInput } from "../../workflows/contract.js";
import { finishedStage, REQUEST, Stage } from "../common/stage.js";
import { DEFINITIONS } from "../forecast/definitions.js";

/** Where one of a run's stages works on this machine, and what it left. */
export type FoundStage<Name extends StageName = StageName> = {
  [Each in Name]: {
    readonly name: Each;
    readonly directory: string;
    /** null: it has not finished */
    readonly result: StageResult<Each> | null;
  };
}[Name];

/** A run's stages up to the first one that has not finished, that one included. `request`: what the last of them that began was given. */
export async function findStages({ config, inputs }: StageInput, root: string): Promise<FoundStage[]> {
  const found: FoundStage[] = [];
  for (const name of STAGES) {
    const results = found.flatMap(({ result }) => result ?? []);
    const { directory } = new Stage<StageName>(DEFINITIONS[name], { config, inputs: inputsFrom(results), root });
    // an earlier version may have made it under another key, so its output says where it is
    const made = inputs.find((input) => OUTPUTS[name].some((output) => output === input.name) && input.uri.startsWith("file:"));
    const places = [directory, ...(made === undefined ? [] : [dirname(fileURLToPath(made.uri))])];
    const at = await Promise.all(places.map((place) => finishedStage(place)));
    const index = at.findIndex((result) => result?.stage === name);
    found.push({ name, directory: places[Math.max(0, index)]!, result: at[index] ?? null } as FoundStage);
    if (index < 0) break;
  }
  return found;
}

/** One of the stages; undefined if it is not there. */
export function stageNamed<Name extends StageName>(found: readonly FoundStage[], name: Name): FoundStage<Name> | undefined {
  return found.find((stage) => stage.name === name) as FoundStage<Name> | undefined;
}

/** What the stage that began last below a directory was given; null: none has begun, or an earlier version of Roslin ran them. */
export async function lastRequest(root: string): Promise<StageInput | null> {
  let last: { readonly path: string; readonly at: number } | null = null;
  for (const stage of STAGES)
    for (const key of await readdir(join(root, stage)).catch(() => [])) {
      const path = join(root, stage, key, REQUEST);
      const at = (await stat(path).catch(() => null))?.mtimeMs;
      if (at !== undefined && (last === null || at >= last.at)) last = { path, at };
    }
  return last === null ? null : (JSON.parse(await readFile(last.path, "utf8")) as StageInput);
}
