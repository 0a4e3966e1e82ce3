import { createHash } from "node:crypto";
import { clearAttemptFiles } from "../../../infra/process/attempt-files.js";
import type { TrainDeps } from "../deps.js";

/** What the names of a run's sockets and shared files begin with; the generation follows. */
export function attemptPrefix(directory: string): string {
  return `roslin-${createHash("sha256").update(directory).digest("hex").slice(0, 12)}-`;
}

/** Removes the sockets and shared files that attempts before a generation left, whose coordinator was killed before it could. */
export function clearAttempts({ engines, machine }: Pick<TrainDeps, "engines" | "machine">, directory: string, before: number): void {
  const prefix = attemptPrefix(directory);
  clearAttemptFiles(machine.socketDirectory, prefix, before);
  for (const engine of Object.values(engines)) engine.clear(machine, directory, prefix, before);
}
