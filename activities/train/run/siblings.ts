import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Computing } from "../../../core/stages/metrics.js";
import type { KeyParts } from "../../common/definition.js";
import { readAll, type ObjectStore } from "../../../infra/store/store.js";
import { finishedStage, recordedParts, WANTED } from "../../common/stage.js";
import { computingOf, isSameJob, trainDefinition } from "../definition.js";

/** Trainings of the same job that are computed in another way, in directories beside each other. */

/** The record of what a training's key is the digest of, in a store that machines share. */
const WANTED_THERE = new RegExp(`^([0-9a-f]{16})/${WANTED}$`);

/** One of them that has not finished. */
export interface Sibling {
  readonly directory: string;
  readonly computing: Computing;
}

/**
 * The unfinished trainings below a stages' root that do the same steps as the one of `directory`, computed in another way.
 * `shared`: the store where machines share their trainings, of which those count that were begun on another machine.
 */
export async function siblingsOf(
  root: string,
  directory: string,
  parts: KeyParts,
  shared: Pick<ObjectStore, "list" | "read"> | null = null,
): Promise<Sibling[]> {
  const siblings: Sibling[] = [];
  const here = await readdir(join(root, trainDefinition.name)).catch(() => []);
  const elsewhere = ((await shared?.list("")) ?? []).flatMap(({ key }) => WANTED_THERE.exec(key)?.[1] ?? []);
  for (const key of [...new Set([...here, ...elsewhere])].sort()) {
    const place = join(root, trainDefinition.name, key);
    if (place === directory) continue;
    const theirs = (await recordedParts(place)) ?? (elsewhere.includes(key) ? await partsIn(shared!, key) : null);
    if (theirs === null || !isSameJob(theirs, parts) || (await finishedStage(place)) !== null) continue;
    siblings.push({ directory: place, computing: computingOf(theirs) });
  }
  return siblings;
}

async function partsIn(shared: Pick<ObjectStore, "read">, key: string): Promise<KeyParts | null> {
  const bytes = await readAll(shared, `${key}/${WANTED}`);
  return bytes === null ? null : (JSON.parse(bytes.toString("utf8")) as KeyParts);
}
