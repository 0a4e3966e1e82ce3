import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import { isModelFile } from "../../core/format/manifest.js";
import type { Model } from "../../core/model/family.js";
import { comparesWithLive } from "../../core/stages/gate.js";
import type { Published } from "../../infra/sources/published.js";
import { modelTokenizer } from "../download/check-prompt.js";
import type { SourcePlan } from "../download/source-plan.js";
import { compareLive, findLive, openLive, type LiveModels } from "../evaluate/live.js";

/** The model that rules of the gate call live, before anything is downloaded. */

/** The live model of a run; null: no rule compares with it. Throws UserError if there is none, or it cannot be used. */
export async function plannedLive(
  find: LiveModels["find"],
  config: RunConfig,
  target: string,
  signal: AbortSignal,
): Promise<Published | null> {
  if (!comparesWithLive(config.evaluate)) return null;
  const { live } = config.evaluate;
  return live === null ? await findLive(find, target, signal) : await openLive(find, target, live, signal);
}

/** Bytes of the live model that an evaluation brings; of an adapter without its base, which may be there already. */
export function liveBytes({ manifest }: Published): number {
  return manifest.files.reduce((sum, { name, bytes }) => sum + (isModelFile(name) ? bytes : 0), 0);
}

/** Throws UserError if the rows of a run on a base would not be the same to the live model; only small files of both are fetched. */
export async function checkPlannedLive(
  fetch: LiveModels["fetch"],
  live: Published,
  config: RunConfig,
  { source, model }: { readonly source: SourcePlan; readonly model: Model },
  signal: AbortSignal,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "roslin-live-"));
  try {
    const found = await modelTokenizer(source, signal).catch((error: unknown) => {
      // rows may come as tokens
      if (!(error instanceof UserError)) throw error;
      return null;
    });
    const rows = { tokenizer: found?.tokenizer ?? null, shape: model.shape };
    await compareLive(fetch, live, { config, rows, directory }, signal);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
