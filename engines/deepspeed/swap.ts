import { mkdirSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { messageOf, UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";
import { freeDisk } from "../../infra/process/machine.js";
import type { TrainSettings } from "../engine.js";

/** Where the ranks of an attempt keep what they offload to NVMe. */
export interface Swap {
  /** in the stage's directory, named by run and generation, so that a later attempt finds and removes it */
  readonly path: string;
  /** the directory of the same name that it is a link to; null: it is the directory itself */
  readonly target: string | null;
}

/** Where an attempt's would lie. `prefix`: what the names of the attempt's files begin with. */
export function swapOf({ offload }: Pick<TrainSettings, "offload">, directory: string, prefix: string): Swap {
  const path = join(directory, `${prefix}.swap`);
  return { path, target: offload.directory === null ? null : join(offload.directory, basename(path)) };
}

/** Whether anything is offloaded to NVMe. */
export function swaps({ offload }: Pick<TrainSettings, "offload">): boolean {
  return offload.optimizer === "nvme" || offload.parameters === "nvme";
}

/** Where a rank's files lie. */
export function rankSwap({ path }: Swap, worker: number): string {
  return join(path, `rank${worker}`);
}

/** Makes a rank's directory, for so many bytes. Throws UserError where it cannot be made, or where the disk lacks the room. */
export function makeSwap({ path, target }: Swap, worker: number, bytes: number): void {
  const directory = target ?? path;
  try {
    if (target !== null) {
      mkdirSync(target, { recursive: true });
      link(target, path);
    }
    mkdirSync(rankSwap({ path, target }, worker), { recursive: true });
  } catch (error) {
    throw new UserError("the directory for what is offloaded to NVMe cannot be made: set train.offload.directory to another one", {
      directory,
      got: messageOf(error),
    });
  }
  const free = freeDisk(directory);
  if (bytes > free)
    throw new UserError(
      "the disk has too little room for what a rank offloads: free some, or set train.offload.directory to another disk",
      {
        directory,
        need: readable(bytes),
        have: readable(free),
      },
    );
}

function link(target: string, path: string): void {
  try {
    symlinkSync(target, path);
  } catch (error) {
    // another rank of this machine was first
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
