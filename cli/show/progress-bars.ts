import type { Progress } from "../../core/stages/results.js";
import { bytes, count, duration, rate } from "../../core/units.js";

/** Shows how far stages are: in a terminal as a bar that is drawn again and again, in a pipe as a line now and then. */
export interface ProgressView {
  show(progress: Progress): void;
  /** A line of its own, above the bar. */
  line(text: string): void;
  /** Leaves the last state on the screen. */
  end(): void;
}

interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Milliseconds between two drawings, and between two lines in a pipe. */
const EVERY_MS = { bar: 100, line: 3000 };

const BAR_WIDTH = 24;

/** A view on a stream; `now` gives milliseconds. */
export function progressView(stream: Terminal, now: () => number = Date.now): ProgressView {
  const terminal = stream.isTTY === true;
  let shown = { at: Number.NEGATIVE_INFINITY, text: "" };
  let stage = { name: "", since: 0, from: 0, last: 0 };
  let pending: string | null = null;
  // a watcher sees the same note every time
  let lasting = "";

  const put = (text: string): void => {
    if (terminal) stream.write(`\r\u001b[2K${text.slice(0, (stream.columns ?? 80) - 1)}`);
    else if (text !== shown.text) stream.write(`${text}\n`);
    shown = { at: now(), text };
    pending = null;
  };
  const leave = (): void => {
    if (pending !== null) put(pending);
    if (terminal && shown.text !== "") stream.write("\n");
    shown = { at: Number.NEGATIVE_INFINITY, text: "" };
  };
  const line = (text: string): void => {
    // what waits to be shown is older than this line
    if (pending !== null && !terminal) put(pending);
    if (terminal && shown.text !== "") stream.write("\r\u001b[2K");
    stream.write(`${text}\n`);
    if (terminal) shown = { at: Number.NEGATIVE_INFINITY, text: "" };
  };
  return {
    show(progress) {
      if (progress.stage !== stage.name) leave();
      if (progress.lasting === true) {
        const text = describe(progress, null);
        if (text !== lasting) line(text);
        lasting = text;
        return;
      }
      // after a kill it goes on from the last checkpoint, with fewer done than were shown
      if (progress.stage !== stage.name || progress.done < stage.last)
        stage = { name: progress.stage, since: now(), from: progress.done, last: 0 };
      stage.last = progress.done;
      const seconds = (now() - stage.since) / 1000;
      const left = secondsLeft(progress, stage.from, seconds);
      const text = (terminal ? `${bar(progress)} ` : "") + describe(progress, left, speed(progress, stage.from, seconds));
      if (now() - shown.at >= (terminal ? EVERY_MS.bar : EVERY_MS.line)) put(text);
      else pending = text;
    },
    line,
    end: leave,
  };
}

/** Seconds until the stage is done at its pace since it was first seen; null while that is unknown. */
export function secondsLeft(progress: Progress, from: number, seconds: number): number | null {
  const moved = progress.done - from;
  if (moved < progress.total / 100 || moved <= 0 || seconds < 1 || progress.done >= progress.total) return null;
  return ((progress.total - progress.done) * seconds) / moved;
}

/** Units a second since the stage was first seen; null while that is unknown. */
function speed({ done }: Progress, from: number, seconds: number): number | null {
  return seconds < 1 || done <= from ? null : (done - from) / seconds;
}

function bar({ done, total }: Progress): string {
  const filled = total === 0 ? 0 : Math.round((Math.min(done, total) / total) * BAR_WIDTH);
  return `[${"#".repeat(filled)}${".".repeat(BAR_WIDTH - filled)}]`;
}

/** One line: "train  12 of 40 steps, loss 3.21, 950 tokens/s, 25 s left". */
export function describe(progress: Progress, left: number | null, perSecond: number | null = null): string {
  const { stage, done, total, unit, note, loss, evalLoss, tokensPerSecond } = progress;
  const parts: string[] = [];
  if (total > 0) parts.push(unit === "bytes" ? `${bytes(done)} of ${bytes(total)}` : `${count(done)} of ${count(total)} ${unit}`);
  if (perSecond !== null && unit === "bytes") parts.push(`${bytes(perSecond)}/s`);
  if (perSecond !== null && unit === "rows") parts.push(rate(perSecond, "rows"));
  if (loss !== undefined) parts.push(`loss ${loss.toFixed(3)}`);
  if (evalLoss !== undefined) parts.push(`on test rows ${evalLoss.toFixed(3)}`);
  if (tokensPerSecond !== undefined) parts.push(rate(tokensPerSecond, "tokens"));
  if (left !== null) parts.push(`${duration(left)} left`);
  if (note !== undefined) parts.push(note);
  return `${stage.padEnd(10)} ${parts.join(", ")}`.trimEnd();
}
