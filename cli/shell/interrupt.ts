/** The reason of a signal when the user or the system asks a command to stop. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Runs `work` with a signal that SIGINT, SIGTERM and SIGHUP abort, so that it can save; the second one ends the process, after `last`. */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>, last?: () => void): Promise<T> {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) {
      last?.();
      process.exit(1);
    }
    controller.abort(new Interrupted("interrupted: what is done is kept; the same command goes on from there"));
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  try {
    return await work(controller.signal);
  } catch (error) {
    // whatever an aborted operation threw, the interrupt is the reason
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}
