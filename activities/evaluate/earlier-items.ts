import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { writeFileAtomic } from "../../infra/disk/files.js";
import { readLines } from "../../infra/disk/line-journal.js";
import type { KeyParts } from "../common/definition.js";
import { recordedParts, type Stage } from "../common/stage.js";
import { FetchedData } from "./choice/task-data.js";
import type { LiveReference } from "./evaluation.js";
import type { JournalLine } from "./journal.js";

/**
 * Begins an evaluation's journal with what earlier ones beside it have done, which differ in the gate alone: in its rules, or in
 * the live model, whose own items are then done anew. A journal that has begun stays as it is.
 */
export async function takeEarlierItems({ directory, parts }: Stage<"evaluate">, journal: string): Promise<void> {
  if (existsSync(journal)) return;
  const [wanted, live] = withoutGate(parts);
  const data = await FetchedData.open(directory);
  const lines = new Map<string, string>();
  for (const key of await readdir(dirname(directory))) {
    const place = join(dirname(directory), key);
    const recorded = place === directory ? null : await recordedParts(place);
    if (recorded === null) continue;
    const [others, otherLive] = withoutGate(recorded);
    if (!isDeepStrictEqual(others, wanted)) continue;
    const otherData = await FetchedData.open(place);
    for (const line of await readLines<JournalLine>(join(place, basename(journal)))) {
      const { model, task, item } = line;
      if (data.digestOf(task) !== otherData.digestOf(task)) continue;
      if (model !== "live" || isDeepStrictEqual(otherLive, live)) lines.set(JSON.stringify([model, task, item]), JSON.stringify(line));
    }
  }
  if (lines.size > 0) await writeFileAtomic(journal, `${[...lines.values()].join("\n")}\n`);
}

/** What an item depends on, and the live model. */
function withoutGate(parts: KeyParts): readonly [unknown, LiveReference | null | undefined] {
  const { gate: _, live, ...settings } = parts.settings as { readonly gate?: unknown; readonly live?: LiveReference | null };
  return [JSON.parse(JSON.stringify({ ...parts, settings })), live];
}
