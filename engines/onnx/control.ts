import { DIRECTIVES, type Directive } from "../engine.js";

/**
 * Words of memory that a rank's main thread and its compute thread share. The compute thread hears nothing
 * while a graph runs or while it waits, so it looks here: between graphs, and when it is woken.
 */

const RELEASED = 0;
const ABORTED = 1;
const DIRECTIVE = 2;
const MOVED = 3;
const WORDS = 4;

/** The main thread has ended the computing: the attempt is over. It never leaves the engine. */
export class AbortedError extends Error {
  override readonly name = "AbortedError";
}

/** Both sides of the shared words. */
export class Control {
  readonly words: Int32Array<SharedArrayBuffer>;
  private readonly tell: (shard: number | null) => void;
  private shard: number | null = null;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(WORDS * 4), tell: (shard: number | null) => void = () => undefined) {
    this.words = new Int32Array(buffer);
    this.tell = tell;
  }

  /** Compute thread: whose rows it works on from now on, to be read after its death; null: no single shard's. */
  at(shard: number | null): void {
    if (shard !== this.shard) this.tell(shard);
    this.shard = shard;
  }

  /** Main thread: lets barrier `index` go. */
  release(index: number, directive: Directive): void {
    Atomics.store(this.words, DIRECTIVE, DIRECTIVES.indexOf(directive));
    Atomics.store(this.words, RELEASED, index);
    Atomics.notify(this.words, RELEASED);
  }

  /** Main thread: ends the compute thread's work at its next look. */
  abort(): void {
    Atomics.store(this.words, ABORTED, 1);
    // a compute thread that has just looked would otherwise fall asleep after this, and nobody would wake it
    Atomics.add(this.words, RELEASED, 1);
    Atomics.notify(this.words, RELEASED);
  }

  /** Main thread: how often something moved since the start. */
  moved(): number {
    return Atomics.load(this.words, MOVED);
  }

  /** Compute thread: after each graph; throws when the attempt is over. */
  step(): void {
    Atomics.add(this.words, MOVED, 1);
    if (Atomics.load(this.words, ABORTED) === 1) throw new AbortedError("the attempt is over");
  }

  /** Compute thread: waits until barrier `index` is released, and returns what the coordinator wants. */
  wait(index: number): Directive {
    for (;;) {
      const released = Atomics.load(this.words, RELEASED);
      if (Atomics.load(this.words, ABORTED) === 1) throw new AbortedError("the attempt is over");
      if (released >= index) return DIRECTIVES[Atomics.load(this.words, DIRECTIVE)]!;
      Atomics.wait(this.words, RELEASED, released);
    }
  }
}
