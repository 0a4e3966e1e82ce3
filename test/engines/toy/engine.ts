import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { elements } from "../../../core/graph/tensor.js";
import { allParameters, type Model } from "../../../core/model/family.js";
import type { TrainingEngine } from "../../../engines/engine.js";
import { clearAttemptFiles } from "../../../infra/process/attempt-files.js";
import { decode, type FromChild, type ToChild } from "./wire.js";

/**
 * The smallest engine that keeps the seam's promises: plain arithmetic on the model's vectors, in a child process of each
 * rank that speaks JSON lines. Ranks hand each other their gradients through a file that all have open.
 */

/** What the ranks of an attempt must agree on. */
export interface ToySetup {
  /** float64 [shards][vectors' elements + 1]: a shard's gradient and its loss */
  readonly sharedPath: string;
  readonly bytes: number;
}

/** Names and shapes of a model's parameters; the toy trains those with one axis, end to end. */
export function parametersOf({ parameters }: Model): readonly { readonly name: string; readonly shape: readonly number[] }[] {
  return allParameters(parameters);
}

/** How many numbers the toy trains. */
export function trainedCount(model: Model): number {
  return parametersOf(model).reduce((sum, { shape }) => sum + (shape.length === 1 ? shape[0]! : 0), 0);
}

export const toyEngine: TrainingEngine<ToySetup> = {
  name: "toy",
  version: "1",
  libraries: () => Promise.resolve({}),
  check: () => Promise.resolve(),

  needs(model, { keepCheckpoints }) {
    const parameters = parametersOf(model).reduce((sum, { shape }) => sum + elements(shape), 0);
    return { parameters, memoryBytes: 16 * parameters, diskBytes: parameters * (12 * (keepCheckpoints + 1) + 4) };
  },

  begin({ model, train, machine, directory, prefix }) {
    const bytes = 8 * train.shards * (trainedCount(model) + 1);
    return { sharedPath: join(machine.sharedDirectory(bytes, directory), `${prefix}.gradients`), bytes };
  },

  prepare: ({ sharedPath, bytes }) => writeFile(sharedPath, Buffer.alloc(bytes), { flag: "wx" }),

  unlink: ({ sharedPath }) => rmSync(sharedPath, { force: true }),

  start(rank, hear) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "compute-child.js")], {
      stdio: ["pipe", "pipe", "inherit", rank.whereabouts],
    });
    // what is said to a child that has died is answered by its end
    child.stdin!.on("error", () => undefined);
    const say = (message: ToChild<ToySetup>): void => void child.stdin!.write(`${JSON.stringify(message)}\n`);
    let lines = 0;
    let aborted = false;
    createInterface({ input: child.stdout! }).on("line", (line) => {
      lines++;
      // a child that is killed may leave half a line
      if (!aborted && line.endsWith("}")) hear(decode(JSON.parse(line) as FromChild));
    });
    say({ kind: "begin", rank });
    return {
      release: (barrier, directive) => say({ kind: "release", barrier, directive }),
      abort() {
        aborted = true;
        child.kill("SIGKILL");
      },
      moved: () => lines,
      ended: new Promise((resolve) =>
        child
          .once("error", ({ message }) => resolve(message))
          .once("close", (code, signal) => resolve(`its compute process ended (${signal ?? `exit code ${code}`})`)),
      ),
    };
  },

  clear(machine, directory, prefix, before) {
    for (const place of new Set([machine.sharedDirectory(0, directory), directory])) clearAttemptFiles(place, prefix, before);
  },
};
