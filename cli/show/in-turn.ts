/** Several texts that come piece by piece, shown one after the other: the first that is not over as it comes, the others behind it. */
export class InTurn {
  private readonly write: (text: string) => void;
  private readonly waiting: string[];
  /** the text that is shown as it comes */
  private shown = 0;
  private last = -1;
  private inStep = new Set<number>();

  /** Each text has a head, such as its title, with which it begins. */
  constructor(write: (text: string) => void, heads: readonly string[]) {
    this.write = write;
    this.waiting = [...heads];
    this.flush();
  }

  /** Adds a piece. Pieces come in steps, in each from every text that is not over, in their order. */
  add(index: number, piece: string): void {
    if (index <= this.last) {
      while (this.shown < this.waiting.length - 1 && !this.inStep.has(this.shown)) this.turn();
      this.inStep = new Set();
    }
    this.last = index;
    this.inStep.add(index);
    this.waiting[index] += piece;
    if (index === this.shown) this.flush();
  }

  /** Shows the rest of all texts. */
  end(): void {
    while (this.shown < this.waiting.length - 1) this.turn();
    this.write("\n");
  }

  private turn(): void {
    this.write("\n\n");
    this.shown++;
    this.flush();
  }

  private flush(): void {
    if (this.waiting[this.shown] !== "") this.write(this.waiting[this.shown]!);
    this.waiting[this.shown] = "";
  }
}
