import { closeSync, mkdirSync, openSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { appendLineSync, readLines } from "../../../infra/disk/line-journal.js";
import type { Evaluation, StepEnd } from "../../../engines/engine.js";
import type { Fingerprint } from "./entries.js";

/** Every step that an attempt has done, kept or lost: a line each, so that a run can say what its failures cost and prove that they changed nothing. */

/** The files' directory in the stage's. */
export const STEPS = "steps";

/** The file of an attempt's steps, relative to the stage's directory. */
export function stepsFileName(generation: number): string {
  return `${STEPS}/g${String(generation).padStart(6, "0")}.jsonl`;
}

/** One step of one attempt. */
export interface StepLine {
  /** steps done after it */
  readonly step: number;
  /** null, as the norm, when the step had no labels */
  readonly loss: number | null;
  readonly norm: number | null;
  readonly seconds: number;
  /** when it ended, in milliseconds since 1970 */
  readonly time: number;
  /** on the test rows after it, where it was measured; an earlier version did not */
  readonly evaluation?: Evaluation;
}

/** The steps of one attempt. */
export interface AttemptSteps {
  readonly generation: number;
  readonly fingerprint: Fingerprint;
  readonly lines: readonly StepLine[];
}

/** The file of an attempt, as the coordinator writes it. */
export class StepsFile {
  private readonly file: number;

  constructor(directory: string, generation: number, fingerprint: Fingerprint) {
    mkdirSync(join(directory, STEPS), { recursive: true });
    this.file = openSync(join(directory, stepsFileName(generation)), "a");
    this.append({ fingerprint });
  }

  /** `time`: when the step ended, in milliseconds since 1970. */
  add({ stepsDone, record: { loss, norm, seconds, evaluation } }: StepEnd, time: number): void {
    this.append({ step: stepsDone, loss, norm, seconds, time, ...(evaluation !== undefined && { evaluation }) } satisfies StepLine);
  }

  close(): void {
    closeSync(this.file);
  }

  private append(line: object): void {
    try {
      appendLineSync(this.file, line);
    } catch {
      // a full disk: a missing line in the records is no reason to lose a step
    }
  }
}

/** The steps of all attempts so far, oldest first. */
export async function readSteps(directory: string): Promise<AttemptSteps[]> {
  const names = await readdir(join(directory, STEPS)).catch(() => []);
  const files = await Promise.all(
    names.sort().map(async (name) => ({ name, objects: await readLines<object>(join(directory, STEPS, name)) })),
  );
  return files.flatMap(({ name, objects }) => {
    const head = objects.find((object) => "fingerprint" in object) as Pick<AttemptSteps, "fingerprint"> | undefined;
    const lines = objects.filter((object) => "step" in object) as StepLine[];
    return head === undefined ? [] : [{ generation: Number(/\d+/.exec(name)![0]), fingerprint: head.fingerprint, lines }];
  });
}
