import {
  ActivityFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  defineSignal,
  isCancellation,
  setHandler,
} from "@temporalio/workflow";
import { SIGNALS } from "./contract.js";

/** The run saves, gives its GPU workers back, and waits. */
export const pauseSignal = defineSignal(SIGNALS.pause);
/** A paused run continues. */
export const resumeSignal = defineSignal(SIGNALS.resume);

/** Pauses and resumes the whole run by signal. */
export class Pauses {
  private readonly changed: (state: "running" | "saving" | "paused") => void;
  private asked: boolean;
  private working: CancellationScope | null = null;

  /** `asked`: whether the run that this one continues was asked to pause. `changed` is called with each new state. */
  constructor(asked: boolean, changed: (state: "running" | "saving" | "paused") => void) {
    this.asked = asked;
    this.changed = changed;
    setHandler(pauseSignal, () => this.pause(), { description: "save at this step, give the GPU workers back, and wait for resume" });
    setHandler(resumeSignal, () => this.resume(), { description: "go on after pause" });
  }

  /** Whether the run is asked to pause. */
  get wanted(): boolean {
    return this.asked;
  }

  /** Runs `work`. A pause cancels it and resume calls it again, so it must save what it has done. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const outer = CancellationScope.current();
    for (;;) {
      if (this.asked) this.changed("paused");
      await condition(() => !this.asked);
      const scope = (this.working = new CancellationScope());
      try {
        return await scope.run(work);
      } catch (error) {
        if (!scope.consideredCancelled || !isEndOfCancelled(error)) throw error;
        if (outer.consideredCancelled) throw new CancelledFailure("the run was cancelled");
      } finally {
        this.working = null;
      }
    }
  }

  private pause(): void {
    if (this.asked) return;
    this.asked = true;
    this.changed(this.working === null ? "paused" : "saving");
    this.working?.cancel();
  }

  private resume(): void {
    if (!this.asked) return;
    this.asked = false;
    this.changed("running");
  }
}

/**
 * Whether cancelled work may end so: with a cancellation, or with an error that would have been retried (a worker killed
 * while it saves).
 */
function isEndOfCancelled(error: unknown): boolean {
  return isCancellation(error) || (error instanceof ActivityFailure && error.retryState === "CANCEL_REQUESTED");
}
