/** What a user is to be told of an attempt when it has ended, too: a heartbeat's note lasts until the next one. */

/** More of an attempt is not kept. */
const MOST = 20;

/** An attempt's notes, each once: those that differ in numbers alone are one. */
export class LastingNotes {
  private readonly notes = new Map<string, string>();

  add(note: string): void {
    const key = note.replace(/\d+/g, "0");
    if (this.notes.size < MOST && !this.notes.has(key)) this.notes.set(key, note);
  }

  /** In the order in which they came. */
  all(): string[] {
    return [...this.notes.values()];
  }
}
