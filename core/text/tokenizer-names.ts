/** Which files of a model are its tokenizer, by their names. */

/** Vocabularies of kinds that Roslin doesn't read. */
const OTHER_KINDS: readonly (readonly [name: string, kind: string])[] = [
  ["tokenizer.model", "SentencePiece's"],
  ["spiece.model", "SentencePiece's"],
  ["sentencepiece.bpe.model", "SentencePiece's"],
  ["spm.model", "SentencePiece's"],
  ["tiktoken.model", "tiktoken's"],
  ["tekken.json", "Mistral's"],
  ["vocab.txt", "WordPiece's"],
];

/** Those that transformers prefers to vocab.json and merges.txt. */
const PREFERRED: readonly string[] = ["tokenizer.model", "tiktoken.model", "tekken.json"];

/** What a model lacks for a tokenizer that Roslin reads, in words; null: it has one. */
export function missingTokenizer(names: readonly string[]): string | null {
  const has = (name: string): boolean => names.includes(name);
  if (has("tokenizer.json") || (has("vocab.json") && has("merges.txt") && !PREFERRED.some(has))) return null;
  const other = OTHER_KINDS.find(([name]) => has(name));
  if (other !== undefined) return `no tokenizer.json, and ${other[0]} is ${other[1]} vocabulary, which Roslin doesn't read`;
  const alone = ["vocab.json", "merges.txt"].find(has);
  return alone === undefined ? "no tokenizer.json, nor vocab.json with merges.txt" : `no tokenizer.json, and ${alone} alone`;
}
