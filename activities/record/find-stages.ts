import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { parseRunConfig } from "../../core/config/schema.js";
import { inputsFrom, OUTPUTS, STAGES, type Artifact, type StageName, type StageResult } from "../../core/stages/results.js";
import type { StageInput } from "../../workflows/contract.js";
import type { KeyParts } from "../common/definition.js";
import { finishedStage, parseRecord, recordedParts, REQUEST, Stage } from "../common/stage.js";
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
export async function findStages({ config, inputs, override }: StageInput, root: string): Promise<FoundStage[]> {
  const found: FoundStage[] = [];
  for (const name of STAGES) {
    const results = found.flatMap(({ result }) => result ?? []);
    const stage = new Stage<StageName>(DEFINITIONS[name], { config, inputs: inputsFrom(results), root, ...(override && { override }) });
    const place = await placeOf(stage, inputs, join(root, name));
    found.push({ name, directory: place?.directory ?? stage.directory, result: place?.result ?? null } as FoundStage);
    if (place === null) break;
  }
  return found;
}

/** Where a stage finished: under its own key, or under another one where it left what later stages were given; null: nowhere. */
async function placeOf(
  stage: Stage<StageName>,
  inputs: readonly Artifact[],
  stages: string,
): Promise<{ readonly directory: string; readonly result: StageResult } | null> {
  const { name } = stage.definition;
  const given = inputs.filter((input) => OUTPUTS[name].some((output) => output === input.name));
  const isGiven = ({ outputs }: StageResult): boolean =>
    given.every((input) => outputs.some((output) => output.name === input.name && output.sha256 === input.sha256));
  const own = await stage.finished();
  if (own?.stage === name) return { directory: stage.directory, result: own };
  // an earlier version had other keys, and so has a run whose addresses were rewritten when its directory moved
  const elsewhere =
    given.length === 0
      ? await madeBefore(stages, stage)
      : [
          ...given.flatMap(({ uri }) => (uri.startsWith("file:") ? dirname(fileURLToPath(uri)) : [])),
          ...(await keysIn(stages)).map((key) => join(stages, key)),
        ];
  for (const directory of elsewhere) {
    // a damaged record of another run says nothing of this one
    const result = await finishedStage(directory).catch(() => null);
    if (result?.stage === name && isGiven(result)) return { directory, result };
  }
  return null;
}

/** The directories of a stage, by the first digits of their keys. */
async function keysIn(stages: string): Promise<string[]> {
  return (await readdir(stages).catch(() => [])).sort();
}

/** Directories where an earlier version did the same: of the same inputs, with the same settings. */
async function madeBefore(stages: string, { definition, parts }: Stage<StageName>): Promise<string[]> {
  const usual = definition.settings(parseRunConfig({}));
  const found: string[] = [];
  for (const key of await keysIn(stages)) {
    const before = await recordedParts(join(stages, key));
    if (before !== null && isSameWork(before, parts, usual)) found.push(join(stages, key));
  }
  return found;
}

/** What it means that a key lacks one of the fields that definitions leave out, so that earlier keys stay. */
const ABSENT: Settings = { precision: "fp32", lora: null, prompt: "dolly", merge: false, sign: false, override: null };

type Settings = Readonly<Record<string, unknown>>;

/** Whether a recorded stage did what another one is asked to do. `usual`: settings of a run that sets nothing, which a record means that is older than a field. */
function isSameWork(before: KeyParts, wanted: KeyParts, usual: unknown): boolean {
  if (!isDeepStrictEqual(before.inputs, wanted.inputs)) return false;
  const isOlder = before.version < wanted.version;
  const own: Settings = { ...ABSENT, ...(isOlder && asRecorded(usual)), ...asRecorded(before.settings) };
  const other: Settings = { ...ABSENT, ...asRecorded(wanted.settings) };
  // a field that is gone since then decides nothing
  const fields = Object.keys(isOlder ? other : { ...own, ...other });
  return fields.every((field) => isDeepStrictEqual(own[field], other[field]));
}

/** Settings in the form in which records are read. */
function asRecorded(settings: unknown): Settings {
  return JSON.parse(JSON.stringify(settings ?? {})) as Settings;
}

/** One of the stages; undefined if it is not there. */
export function stageNamed<Name extends StageName>(found: readonly FoundStage[], name: Name): FoundStage<Name> | undefined {
  return found.find((stage) => stage.name === name) as FoundStage<Name> | undefined;
}

/** What the stage that began last below a directory was given; null: none has begun, or an earlier version of Roslin ran them. */
export async function lastRequest(root: string): Promise<StageInput | null> {
  let last: { readonly path: string; readonly at: number } | null = null;
  for (const stage of STAGES)
    for (const key of await keysIn(join(root, stage))) {
      const path = join(root, stage, key, REQUEST);
      const at = (await stat(path).catch(() => null))?.mtimeMs;
      if (at !== undefined && (last === null || at >= last.at)) last = { path, at };
    }
  return last === null ? null : parseRecord<StageInput>(await readFile(last.path, "utf8"), last.path);
}
