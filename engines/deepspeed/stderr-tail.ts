import type { Readable } from "node:stream";

/** How much of what a process wrote to standard error is kept. */
const KEPT = 8192;

/** The end of what a process wrote to standard error. */
export class StderrTail {
  private text = "";

  constructor(stderr: Readable) {
    stderr.setEncoding("utf8").on("data", (part: string) => (this.text = (this.text + part).slice(-KEPT)));
  }

  /** ": " and the last line that says something, or nothing. */
  lastLine(): string {
    const line = this.text.trimEnd().split("\n").at(-1)!.trim();
    return line === "" ? "" : `: ${line}`;
  }

  /** Writes it to this process' own, for whoever looks for a traceback in the worker's log. */
  print(): void {
    process.stderr.write(this.text);
  }
}
