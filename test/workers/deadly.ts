import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Environment of worker processes for which a step is deadly as often as there are files FILE.1, FILE.2, …: see `deadly-step.ts`. */
export function deadlyVariables(deadly: {
  readonly file: string;
  readonly step: number;
  readonly shard: number;
  readonly signal: NodeJS.Signals;
  /** at the step's first barrier, or in the shard's first graph */
  readonly place: "barrier" | "graph";
}): Record<string, string> {
  const preload = pathToFileURL(join(import.meta.dirname, "deadly-step.js")).href;
  return {
    NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} --import=${preload}`,
    DEADLY_STEP: `${deadly.step}`,
    DEADLY_SHARD: `${deadly.shard}`,
    DEADLY_SIGNAL: deadly.signal,
    DEADLY_PLACE: deadly.place,
    DEADLY_FILE: deadly.file,
  };
}
