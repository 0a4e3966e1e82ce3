import { existsSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** A step that is deadly for the computing that hosts a shard, as often as there are files FILE.1, FILE.2, …. */
export interface Deadly {
  readonly file: string;
  /** index, 0-based */
  readonly step: number;
  readonly shard: number;
  /** what the computing does: sends its process a signal, ends without a word, throws, or (DeepSpeed alone) takes more memory than there is, or throws what torch throws when a GPU has no more */
  readonly signal: NodeJS.Signals | "exit" | "throw" | "memory" | "gpu-memory";
  /** at the step's first barrier, or in the shard's first graph */
  readonly place: "barrier" | "graph";
}

/** Environment of worker processes for which a step is deadly: see `deadly-step.ts`, which is loaded into them. */
export function deadlyVariables(deadly: Deadly): Record<string, string> {
  const preload = pathToFileURL(join(import.meta.dirname, "deadly-step.js")).href;
  return {
    NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} --import=${preload}`,
    DEADLY: JSON.stringify(deadly),
  };
}

/** What the environment says of a deadly step; null: none is. */
export function readDeadly(): Deadly | null {
  const text = process.env["DEADLY"];
  return text === undefined ? null : (JSON.parse(text) as Deadly);
}

/** Takes the next of the files and strikes; without one it was deadly often enough. */
export function strike({ file, signal }: Deadly): void {
  if (signal === "memory" || signal === "gpu-memory") throw new Error("only the Python program of DeepSpeed's tests can do this");
  const next = [1, 2, 3, 4, 5, 6].map((number) => `${file}.${number}`).find((path) => existsSync(path));
  if (next === undefined) return;
  unlinkSync(next);
  if (signal === "throw") throw new Error("the step has failed, as the test wants");
  // in a thread it ends the thread alone
  if (signal === "exit") process.exit(7);
  process.kill(process.pid, signal);
}
