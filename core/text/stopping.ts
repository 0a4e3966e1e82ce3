import type { Decoder } from "./tokenizer.js";

/** The text of an answer as its tokens come: it ends before the first of several texts, and without the blank at its end. */
export class AnswerText {
  private readonly next: (id?: number) => string;
  private readonly stops: readonly string[];
  private held = "";
  private stopped = false;

  /** Empty `stops` say nothing. */
  constructor(tokenizer: Decoder, stops: readonly string[]) {
    this.next = tokenizer.stream();
    this.stops = stops.filter((stop) => stop !== "");
  }

  /** Whether the answer has come to one of its ends. */
  get isStopped(): boolean {
    return this.stopped;
  }

  /** Takes a token; what can be said now. What may turn out to be part of an end, or of the blank before it, is held back. */
  add(token: number): string {
    if (this.stopped) return "";
    this.held += this.next(token);
    const ends = this.stops.map((stop) => this.held.indexOf(stop)).filter((at) => at >= 0);
    if (ends.length > 0) {
      this.stopped = true;
      return this.held.slice(0, Math.min(...ends)).trimEnd();
    }
    const begun = Math.max(0, ...this.stops.map((stop) => begunLength(this.held, stop)));
    const ready = this.held.slice(0, this.held.length - begun).trimEnd();
    this.held = this.held.slice(ready.length);
    return ready;
  }

  /** What was held back, when no more tokens come. */
  end(): string {
    return this.stopped ? "" : (this.held + this.next()).trimEnd();
  }
}

/** How much of the end of a text is the beginning of another one. */
function begunLength(text: string, stop: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--) if (text.endsWith(stop.slice(0, length))) return length;
  return 0;
}
