import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { SHARD_BYTES, tellShard } from "../../../engines/engine.js";

/** Where each worker of an attempt is, in a small file of its own. What was written survives a kill, because it is in the page cache. */

/** The files' directory in the stage's. */
export const WHEREABOUTS = "whereabouts";

/** How a worker's part ended: all was done, it was asked to stop, it failed, it heard of another's end, or its computing died under it. */
type Ending = "done" | "asked" | "failed" | "told" | "died";

/** What a worker's file says. */
export interface Whereabouts {
  readonly worker: number;
  readonly pid: number;
  /** when the process started: another one may have its number by now */
  readonly started: string | null;
  /** the step at work, 0-based; null while it loads, saves or computes test rows */
  readonly step: number | null;
  /** the one shard on whose rows it works, while it works on one's */
  readonly shard: number | null;
  /** null: it died, or still works */
  readonly ended: { readonly how: Ending; readonly message: string } | null;
}

/** Longer than what is written before the end, so that each text covers the one before. */
const BYTES = 256;

function fileName(generation: number, worker: number): string {
  return `g${String(generation).padStart(6, "0")}-w${String(worker).padStart(2, "0")}.json`;
}

/** A worker's own file. */
export class WhereaboutsFile {
  /** the open file; its first SHARD_BYTES belong to the computing */
  readonly file: number;
  private now: Omit<Whereabouts, "shard">;

  constructor(directory: string, generation: number, process: Pick<Whereabouts, "worker" | "pid" | "started">) {
    mkdirSync(join(directory, WHEREABOUTS), { recursive: true });
    this.file = openSync(join(directory, WHEREABOUTS, fileName(generation, process.worker)), "w");
    this.now = { ...process, step: null, ended: null };
    tellShard(this.file, null);
    write(this.file, this.text());
  }

  /** The worker begins with a step (0-based), or with something else. */
  at(step: number | null): void {
    if (this.now.ended === null) this.write({ ...this.now, step });
  }

  /** The first word counts: what comes after follows from it. */
  end(how: Ending, message: string): void {
    if (this.now.ended === null) this.write({ ...this.now, ended: { how, message } });
  }

  close(): void {
    closeSync(this.file);
  }

  private write(now: Omit<Whereabouts, "shard">): void {
    this.now = now;
    write(this.file, this.text());
  }

  private text(): string {
    return JSON.stringify(this.now).padEnd(BYTES);
  }
}

function write(file: number, text: string): void {
  try {
    writeSync(file, text, SHARD_BYTES);
  } catch {
    // a full disk: this file is not worth a training
  }
}

/** What the workers of an attempt left. */
export async function readWhereabouts(directory: string, generation: number): Promise<Whereabouts[]> {
  const prefix = fileName(generation, 0).slice(0, "g000000-".length);
  const names = await readdir(join(directory, WHEREABOUTS)).catch(() => []);
  const own = names.filter((name) => name.startsWith(prefix)).sort();
  return Promise.all(own.map(async (name) => parse(name, await readFile(join(directory, WHEREABOUTS, name), "utf8"))));
}

function parse(name: string, text: string): Whereabouts {
  try {
    const shard = text.slice(0, SHARD_BYTES).trim();
    const rest = JSON.parse(text.slice(SHARD_BYTES)) as Omit<Whereabouts, "shard">;
    return { ...rest, shard: shard === "" ? null : Number(shard) };
  } catch {
    // killed before it wrote, or the power went: nothing is known of it
    return { worker: Number(/w(\d+)/.exec(name)![1]), pid: 0, started: null, step: null, shard: null, ended: null };
  }
}
