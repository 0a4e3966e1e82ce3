/** A rank's beat: it tells the others that this process lives, misses those that say nothing, and says how far the work is. */

const BEAT_MS = 1000;
/**
 * Beats after which a rank that said nothing is given up, once all were asked to stop. Its process is frozen: one that lives
 * says so every second, however long a computation or the saving of a checkpoint takes.
 */
const SILENT_BEATS = 60;

/** What a heartbeat asks and tells. */
export interface HeartbeatOptions {
  /** numbers of the ranks that this one hears */
  readonly peers: readonly number[];
  /** how often something has moved here */
  moved(): number;
  /** whether this rank waits for others: then it lives though nothing moves */
  waiting(): boolean;
  /** whether silent ranks are to be given up */
  impatient(): boolean;
  /** tells the others that this process lives */
  alive(): void;
  /** says how far the work is; `stalled`: nothing has moved since the last beat */
  progress(stalled: boolean): void;
  /** a rank has said nothing for so many beats */
  silent(peer: number, beats: number): void;
}

/** Beats every second between `start` and `stop`. */
export class Heartbeat {
  private readonly options: HeartbeatOptions;
  private timer: NodeJS.Timeout | undefined;
  /** own beats since each peer was heard; a clock would count the time for which this process was frozen itself */
  private readonly silence = new Map<number, number>();
  private lastMoved = -1;

  constructor(options: HeartbeatOptions) {
    this.options = options;
  }

  start(): void {
    this.timer = setInterval(() => this.beat(), BEAT_MS);
  }

  /** A peer has said something. */
  heard(peer: number): void {
    this.silence.set(peer, 0);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private beat(): void {
    const { peers, moved, waiting, impatient, alive, progress, silent } = this.options;
    for (const peer of peers) {
      const beats = (this.silence.get(peer) ?? 0) + 1;
      this.silence.set(peer, beats);
      if (beats > SILENT_BEATS && impatient()) silent(peer, beats);
    }
    alive();
    const now = moved();
    const stalled = now === this.lastMoved;
    this.lastMoved = now;
    if (!stalled || waiting()) progress(stalled);
  }
}
