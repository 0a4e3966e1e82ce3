import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { FetchEvents } from "../../infra/transfer/fetch.js";
import { withBase } from "./adapter-source.js";
import { getSource } from "./fetch-plan.js";
import { planLocal, planRemote, type Places } from "./source-plan.js";

/** Brings an adapter and its base into one directory below `directory`, as a run's download does, and resolves to it. Throws UserError if the base cannot be found. */
export async function bringWithBase(places: Places, source: string, directory: string, events: FetchEvents): Promise<string> {
  const { signal, onNote } = events;
  const plan = (await planLocal(places, "model", source)) ?? (await planRemote(places, "model", source, null, signal));
  const whole = await withBase(places, plan, null, signal, onNote);
  await mkdir(directory, { recursive: true });
  const { artifact } = await getSource(directory, whole, events);
  return fileURLToPath(artifact.uri);
}
