import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../../infra/disk/files.js";
import type { S3Access } from "../../infra/servers/s3-server.js";
import { isAlive, type ProcessId } from "../../infra/servers/service.js";

/** What `roslin up` tells others, and the next `up`, about what runs in a home: `<home>/up.json`. */
export interface UpState {
  readonly supervisor: ProcessId;
  /** the local Temporal server; null when an external one is used */
  readonly temporal: { readonly address: string; readonly uiAddress: string } | null;
  /** the local S3 server, its keys among the rest: the file is readable by its owner alone; null when an external one is used */
  readonly s3: S3Access | null;
  /** where pages about runs are served; an earlier version served none */
  readonly reports?: string;
  readonly processes: readonly (ProcessId & { readonly name: string; readonly restarts: number })[];
}

/** The state that the last `up` wrote, whether or not it still runs; null: there is none. */
export async function readState(home: string): Promise<UpState | null> {
  try {
    return JSON.parse(await readFile(stateFile(home), "utf8")) as UpState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** The state of the `up` that runs in a home; null: its supervisor is not alive. */
export async function runningState(home: string): Promise<UpState | null> {
  const state = await readState(home);
  return state !== null && isAlive(state.supervisor) ? state : null;
}

/** Writes the state whole or not at all. */
export async function writeState(home: string, state: UpState): Promise<void> {
  await writeFileAtomic(stateFile(home), JSON.stringify(state, null, 1), 0o600);
}

/** Where a home's state lies. */
export function stateFile(home: string): string {
  return join(home, "up.json");
}
