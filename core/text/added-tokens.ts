import { normalize, undisputed, type Normalizer } from "./unicode.js";
import type { AddedToken } from "./tokenizer-json.js";

/** Tokens that are cut out of a text before it becomes words: their ids, and where they are. */

/** An added token as encoding needs it. */
export interface AddedPattern extends AddedToken {
  readonly id: number;
}

/** Which tokens a tokenizer has beside its vocabulary, by the rules of `tokenizers`: the file's own ids don't count there. */
export class AddedVocabulary {
  private readonly idOfContent = new Map<string, number>();
  private readonly tokens = new Map<number, AddedToken>();
  /** texts of special tokens: what was special once stays so */
  private readonly special = new Set<string>();
  private readonly vocabulary: ReadonlyMap<string, number>;

  constructor(vocabulary: ReadonlyMap<string, number>) {
    this.vocabulary = vocabulary;
  }

  /** Adds tokens. One that the vocabulary has keeps its id, a new one gets the next id, and a known one gets the new flags. */
  add(added: readonly AddedToken[]): void {
    const size = this.vocabulary.size;
    let largest = -1;
    for (const id of this.tokens.keys()) largest = Math.max(largest, id);
    let next = largest >= size || (size === 0 && largest >= 0) ? largest + 1 : size;
    for (const token of added) {
      if (token.content === "") continue;
      const id = this.idOf(token.content) ?? next++;
      this.idOfContent.set(token.content, id);
      this.tokens.set(id, token);
      if (token.special) this.special.add(token.content);
    }
  }

  /** Id of a token's text, added or in the vocabulary. */
  idOf(content: string): number | undefined {
    return this.idOfContent.get(content) ?? this.vocabulary.get(content);
  }

  /** The added tokens in order of id. */
  list(): AddedPattern[] {
    return [...this.tokens].sort(([a], [b]) => a - b).map(([id, token]) => ({ ...token, id, special: this.special.has(token.content) }));
  }
}

/** A part of a text: a piece of it, or the id of an added token. */
export type Part = string | number;

const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const startsWithWord = (text: string): boolean => text !== "" && WORD.test(undisputed(String.fromCodePoint(text.codePointAt(0)!)));
const endsWithWord = (text: string): boolean => text !== "" && WORD.test(undisputed([...text.slice(-2)].at(-1)!));
const SPACES_AT_END = /\p{White_Space}*$/u;
const SPACES_AT_START = /^\p{White_Space}*/u;

/** What a text is to a tokenizer: pieces that become words, with nothing before, between or after them, and added tokens. */
export type Separator = (text: string) => readonly Part[];

/**
 * Cuts added tokens out of a text and normalizes the rest: first the tokens that are looked for in the text as it is, then,
 * in each piece, once it is normalized, the others. Of two that match, the leftmost counts, then the longest. `splitSpecial`:
 * special tokens are text like any other.
 */
export function createSeparator(tokens: readonly AddedPattern[], normalizers: readonly Normalizer[], splitSpecial: boolean): Separator {
  const normalized = (text: string): string => normalizers.reduce(normalize, text);
  const plain = finder(
    tokens.filter((token) => !token.normalized).map((token) => [token.content, token] as const),
    splitSpecial,
  );
  const late = finder(
    tokens.filter((token) => token.normalized).map((token) => [normalized(token.content), token] as const),
    splitSpecial,
  );
  if (plain === null && late === null && normalizers.length === 0) return (text) => [text];
  const inPiece = (piece: Part): readonly Part[] => {
    if (typeof piece === "number") return [piece];
    const text = normalizers.length === 0 ? piece : normalized(piece);
    return late === null ? [text] : late(text);
  };
  return (text) => {
    const pieces = plain === null ? [text] : plain(text);
    return pieces.length === 1 ? inPiece(pieces[0]!) : pieces.flatMap(inPiece);
  };
}

/** A separator by the texts of some tokens; null when there are none. */
function finder(tokens: readonly (readonly [text: string, token: AddedPattern])[], splitSpecial: boolean): Separator | null {
  if (tokens.length === 0) return null;
  const byText = new Map(tokens);
  const longestFirst = [...byText.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|"), "g");
  // most texts have none, and searching for the prefix that all share is much faster than the pattern
  const sorted = [...byText.keys()].sort();
  const [first, last] = [sorted[0]!, sorted.at(-1)!];
  let shared = 0;
  while (shared < first.length && first[shared] === last[shared]) shared++;
  const prefix = first.slice(0, shared);
  return (text) => {
    if (!text.includes(prefix)) return [text];
    const parts: Part[] = [];
    let done = 0;
    for (const match of text.matchAll(pattern)) {
      const token = byText.get(match[0])!;
      let start = match.index;
      let end = start + match[0].length;
      if (splitSpecial && token.special) continue;
      if (token.single_word && (endsWithWord(text.slice(0, start)) || startsWithWord(text.slice(end)))) continue;
      // the token before may have taken these spaces already
      if (token.lstrip) start = Math.max(done, SPACES_AT_END.exec(text.slice(0, start))!.index);
      if (token.rstrip) end += SPACES_AT_START.exec(text.slice(end))![0].length;
      if (done < start) parts.push(text.slice(done, start));
      parts.push(token.id);
      done = end;
    }
    if (done < text.length) parts.push(text.slice(done));
    return parts;
  };
}
