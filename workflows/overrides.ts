import { condition, defineUpdate, setHandler, workflowInfo } from "@temporalio/workflow";
import { UserError } from "../core/errors.js";
import { isSameOverride, overrideWords, parseOverride, type Override, type OverrideRequest } from "../core/stages/override.js";
import { UPDATES } from "./contract.js";
import type { Pauses } from "./pause.js";

/** A person decides that a gate that was not passed does not count. */
export const overrideUpdate = defineUpdate<Override, [OverrideRequest]>(UPDATES.overrideGate);

const HOUR = 3_600_000;

/**
 * Takes at most one person's override of a run's gate, from its start until publishing has decided. It holds for the
 * evaluation that was there when it was given; one that was given before any holds for the first.
 */
export class Overrides {
  private made: Override | null;
  private madeFor: string | null;
  private evaluation: string | null = null;
  private refusal: string | null = null;

  /** `made`: of the run that this one continues; `madeFor`: the digest of the evaluation that it was given for, null: there was none. */
  constructor(made: Override | null, madeFor: string | null) {
    this.made = made;
    this.madeFor = madeFor;
    setHandler(overrideUpdate, (input) => this.take(input), {
      validator: (input) => this.check(input),
      description: 'publish as the latest model although the gate was not passed: {"by": "NAME", "reason": "TEXT"}',
    });
  }

  /** The override so far; null: nobody has overridden the gate. */
  get current(): Override | null {
    return this.made;
  }

  /** The digest of the evaluation that the override was given for; null: there was none, or there is no override. */
  get currentFor(): string | null {
    return this.madeFor;
  }

  /** An evaluation with this digest has come. Gives the override that was given for another one, and no longer counts; null: there is none. */
  evaluated(digest: string): Override | null {
    this.evaluation = digest;
    const { made } = this;
    if (made === null) return null;
    this.madeFor ??= digest;
    if (this.madeFor === digest) return null;
    this.made = this.madeFor = null;
    return made;
  }

  /** From now on an override is refused with these words; null: it is taken. The one that was taken stays. */
  refuse(words: string | null): void {
    this.refusal = words;
  }

  /** Waits up to so many hours for an override; `show` is called with how to give one, and with "" when the waiting is over. */
  async wait(hours: number, reason: string, pauses: Pauses, show: (words: string) => void): Promise<void> {
    if (hours === 0 || this.made !== null) return;
    const end = Date.now() + Math.round(hours * HOUR);
    show(
      `the gate was not passed (${reason}). Until ${new Date(end).toISOString()} a person may override it: temporal workflow update execute --workflow-id ${workflowInfo().workflowId} --name ${UPDATES.overrideGate} --input '{"by": "NAME", "reason": "TEXT"}'`,
    );
    await pauses.run(async () => {
      const left = end - Date.now();
      if (left > 0) await condition(() => this.made !== null, left);
    });
    show("");
  }

  private check(input: OverrideRequest): void {
    const { by, reason } = parseOverride(input);
    if (this.made !== null) {
      if (isSameOverride(this.made, { by, reason })) return;
      throw new UserError(`the gate of this run is ${overrideWords(this.made)}; that stays`);
    }
    if (this.refusal !== null) throw new UserError(this.refusal);
  }

  private take(input: OverrideRequest): Override {
    const { by, reason } = parseOverride(input);
    if (this.made === null) {
      this.made = { by, reason, at: new Date().toISOString() };
      this.madeFor = this.evaluation;
    }
    return this.made;
  }
}
