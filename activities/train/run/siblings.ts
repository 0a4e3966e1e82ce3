import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Computing } from "../../../core/stages/metrics.js";
import type { KeyParts } from "../../common/definition.js";
import { finishedStage, recordedParts } from "../../common/stage.js";
import { computingOf, isSameJob, trainDefinition } from "../definition.js";

/** Trainings of the same job that are computed in another way, in directories beside each other. */

/** One of them that has not finished. */
export interface Sibling {
  readonly directory: string;
  readonly computing: Computing;
}

/** The unfinished trainings below a stages' root that do the same steps as the one of `directory`, computed in another way. */
export async function siblingsOf(root: string, directory: string, parts: KeyParts): Promise<Sibling[]> {
  const siblings: Sibling[] = [];
  for (const key of (await readdir(join(root, trainDefinition.name)).catch(() => [])).sort()) {
    const place = join(root, trainDefinition.name, key);
    const theirs = place === directory ? null : await recordedParts(place);
    if (theirs === null || !isSameJob(theirs, parts) || (await finishedStage(place)) !== null) continue;
    siblings.push({ directory: place, computing: computingOf(theirs) });
  }
  return siblings;
}
