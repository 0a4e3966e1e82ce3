import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { comparesWithLive } from "../../core/stages/gate.js";
import { keyParts } from "../common/definition.js";
import { recordedParts, WANTED, type StageRequest } from "../common/stage.js";
import { evaluateDefinition } from "./definition.js";
import type { LiveReference } from "./evaluation.js";

/**
 * A request with the live model that the last evaluation of it below its root compared with, because the evaluation's place
 * depends on it; the same request where rules compare with none, or none was evaluated. Publishing finds out whether
 * `latest.json` still names that model.
 */
export async function withRecordedLive(request: StageRequest): Promise<StageRequest> {
  const { config, root } = request;
  if (!comparesWithLive(config.evaluate) || config.evaluate.live !== null) return request;
  const wanted: unknown = JSON.parse(JSON.stringify(keyParts(evaluateDefinition, request)));
  const found: { readonly live: LiveReference; readonly at: number }[] = [];
  for (const key of await readdir(join(root, evaluateDefinition.name)).catch(() => [])) {
    const directory = join(root, evaluateDefinition.name, key);
    const parts = await recordedParts(directory);
    const settings = parts?.settings as { readonly live?: LiveReference | null } | undefined;
    if (settings?.live == null || !isDeepStrictEqual({ ...parts, settings: { ...settings, live: null } }, wanted)) continue;
    found.push({ live: settings.live, at: (await stat(join(directory, WANTED))).mtimeMs });
  }
  const last = found.toSorted((a, b) => b.at - a.at)[0];
  return last === undefined ? request : { ...request, config: { ...config, evaluate: { ...config.evaluate, live: last.live } } };
}
