/** ROUGE-L as Google's rouge_score 0.1.2 computes it without its stemmer. */

/** Lower-case words of a-z and 0-9; everything else divides them. */
export function rougeWords(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "");
}

/** The F-measure of two texts' longest common subsequence of words, from 0 to 1; 0 if one of them has no words. */
export function rougeL(reference: string, answer: string): number {
  const [expected, said] = [rougeWords(reference), rougeWords(answer)];
  if (expected.length === 0 || said.length === 0) return 0;
  const common = commonLength(expected, said);
  const [precision, recall] = [common / said.length, common / expected.length];
  return common === 0 ? 0 : (2 * precision * recall) / (precision + recall);
}

/** The length of the longest common subsequence. */
function commonLength(left: readonly string[], right: readonly string[]): number {
  let before = new Uint32Array(right.length + 1);
  for (const word of left) {
    const row = new Uint32Array(right.length + 1);
    for (let at = 0; at < right.length; at++) row[at + 1] = word === right[at] ? before[at]! + 1 : Math.max(before[at + 1]!, row[at]!);
    before = row;
  }
  return before[right.length]!;
}
