import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { RunConfig } from "../../core/config/schema.js";
import { inputsFrom, STAGES, type StageName, type StageResult } from "../../core/stages/results.js";
import { duration } from "../../core/units.js";
import { DEFINITIONS } from "./definitions.js";
import { withRecordedLive } from "../evaluate/recorded-live.js";
import type { KeyParts } from "../common/definition.js";
import { SHARDS } from "../train/log/checkpoint.js";
import { siblingsOf } from "../train/run/siblings.js";
import { recordedParts, Stage, WANTED } from "../common/stage.js";

/** What a run would do with a stage. */
export interface Forecast {
  readonly stage: StageName;
  readonly reused: boolean;
  readonly why: string;
  /** the stage's directory; null if it depends on what an earlier stage has yet to leave */
  readonly directory: string | null;
  /** directories of other trainings that it may go on from */
  readonly from: readonly string[];
}

/** What a forecast doesn't look at, and a run does. */
const LOOKED_AT: { readonly [stage in StageName]?: string } = {
  download: "; what the sources hold is looked at again",
  publish: "; what lies at the target is looked at again",
};

/** Which stages a run of this config would reuse below `root`, and why it would run the others. The config names its target. */
export async function forecast(config: RunConfig, root: string): Promise<Forecast[]> {
  const results: StageResult[] = [];
  const forecasts: Forecast[] = [];
  for (const name of STAGES) {
    if (results.length < forecasts.length) {
      const first = forecasts[results.length]!.stage;
      forecasts.push({
        stage: name,
        reused: false,
        why: `after ${first}, unless that leaves what it left before`,
        directory: null,
        from: [],
      });
      continue;
    }
    const given = { config, inputs: inputsFrom(results), root };
    const request = name === "evaluate" ? await withRecordedLive(given) : given;
    const stage = new Stage<StageName>(DEFINITIONS[name], request);
    const { directory } = stage;
    const finished = await stage.finished();
    if (finished === null) {
      const wanted = stage.parts;
      const from = name === "train" ? (await siblingsOf(root, directory, wanted)).map((sibling) => sibling.directory) : [];
      forecasts.push({ stage: name, reused: false, why: await whyRun(root, name, directory, wanted, from), directory, from });
      continue;
    }
    results.push(finished);
    const why = `the same settings, inputs and code as before, when it took ${duration(finished.metrics.seconds)}${LOOKED_AT[name] ?? ""}`;
    forecasts.push({ stage: name, reused: true, why, directory, from: [] });
  }
  return forecasts;
}

/** Why a stage has to run: how it differs from the most similar one that ran. */
async function whyRun(root: string, stage: StageName, directory: string, wanted: KeyParts, from: readonly string[]): Promise<string> {
  if ((await wantedIn(directory)) !== null) return "it was begun, and goes on where it stopped";
  for (const place of from) {
    const begun = await wantedIn(place);
    if (begun === null || (await readdir(join(place, SHARDS)).catch(() => [])).length === 0) continue;
    return `it goes on from what ${stage}/${basename(place)} has saved: ${changesBetween(begun.parts, wanted).join("; ")}`;
  }
  const others = [];
  for (const key of await readdir(join(root, stage)).catch(() => [])) {
    const before = await wantedIn(join(root, stage, key));
    if (before !== null) others.push({ changes: changesBetween(before.parts, wanted), at: before.at });
  }
  if (others.length === 0) return "it has not run here yet";
  const [nearest] = others.sort((a, b) => a.changes.length - b.changes.length || b.at - a.at);
  return nearest!.changes.join("; ");
}

async function wantedIn(directory: string): Promise<{ readonly parts: KeyParts; readonly at: number } | null> {
  const parts = await recordedParts(directory);
  return parts === null ? null : { parts, at: (await stat(join(directory, WANTED))).mtimeMs };
}

function changesBetween(before: KeyParts, now: KeyParts): string[] {
  const code = before.version === now.version ? [] : ["this version of Roslin does it differently"];
  const old = new Map(before.inputs.map(({ name, sha256 }) => [name, sha256]));
  const inputs = now.inputs.flatMap(({ name, sha256 }) => (old.get(name) === sha256 ? [] : [`its input ${name} has changed`]));
  const [was, is] = [leaves(before.settings), leaves(now.settings)];
  // a field that only one version of Roslin has was set by nobody
  const known = (field: string): boolean => code.length === 0 || (was.has(field) && is.has(field));
  const fields = [...new Set([...was.keys(), ...is.keys()])].filter((field) => known(field) && was.get(field) !== is.get(field));
  const settings = fields.map((field) => `${field} is ${is.get(field) ?? "nothing"}, was ${was.get(field) ?? "nothing"}`);
  return [...settings, ...inputs, ...code];
}

/** Every field of settings by its path, the value as JSON. */
function leaves(value: unknown, path = ""): Map<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return new Map([[path, JSON.stringify(value)]]);
  return new Map(Object.entries(value).flatMap(([name, each]) => [...leaves(each, path === "" ? name : `${path}.${name}`)]));
}
