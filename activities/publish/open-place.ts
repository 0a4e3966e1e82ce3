import type { RunConfig } from "../../core/config/schema.js";
import type { TargetCheck } from "../../infra/store/store.js";
import type { StageContext } from "../common/stage.js";
import type { PublishDependencies } from "./deps.js";
import { hubPlace } from "./hub-place.js";
import type { PublishingPlace } from "./place.js";
import { storePlace } from "./store-place.js";

/** The place that a target names, with what its check found out. */
export function openPlace(
  dependencies: PublishDependencies,
  wanted: RunConfig["publish"],
  abilities: TargetCheck["abilities"],
  context: StageContext,
): PublishingPlace {
  const target = wanted.target!;
  if (!target.startsWith("hf://")) return storePlace(dependencies.openStore(target, wanted, context.signal, abilities), target, wanted);
  const say = (note: string): void => context.progress({ stage: "publish", done: 0, total: 0, unit: "bytes", note });
  return hubPlace(dependencies.openHub(target, context.signal, say), target);
}
