import { UserError } from "../errors.js";
import { undisputed } from "./unicode.js";
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

  /**
   * Throws UserError if `tokenizers` would give tokens of a file other ids than the file, or if two tokens are one once they are
   * normalized. `where`: the file's name.
   */
  check(own: readonly { readonly id: number; readonly content: string }[], normalized: Normalize | null, where: string): void {
    const fail = (field: string, problem: string): never => {
      throw new UserError("this tokenizer.json has what Roslin doesn't carry out", { file: where, field, problem });
    };
    own.forEach(({ content, id }, index) => {
      // `tokenizers` counts on from the vocabulary and warns where the file says otherwise
      if (this.idOf(content) !== id) fail(`added_tokens.${index}.id`, `${content} is ${id} here, and ${this.idOf(content)} by its place`);
    });
    const texts = new Set<string>();
    for (const { content } of this.list().filter((token) => token.normalized)) {
      const text = normalized?.(content) ?? content;
      if (texts.has(text)) fail("added_tokens", `${content} is another token once it is normalized`);
      texts.add(text);
    }
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

/** What a tokenizer makes of a text before words are looked for. */
export type Normalize = (text: string) => string;

/** What a text is to a tokenizer: pieces that become words, with nothing before, between or after them, and added tokens. */
export type Separator = (text: string) => readonly Part[];

/**
 * Cuts added tokens out of a text and normalizes the rest: first the tokens that are looked for in the text as it is, then,
 * in each piece, once it is normalized, the others. Of two that match, the leftmost counts, then the longest. `splitSpecial`:
 * special tokens are text like any other; `normalized` null: nothing is normalized.
 */
export function createSeparator(tokens: readonly AddedPattern[], normalized: Normalize | null, splitSpecial: boolean): Separator {
  const plain = finder(
    tokens.filter((token) => !token.normalized).map((token) => [token.content, token] as const),
    splitSpecial,
  );
  const late = finder(
    tokens.filter((token) => token.normalized).map((token) => [normalized?.(token.content) ?? token.content, token] as const),
    splitSpecial,
  );
  if (plain === null && late === null && normalized === null) return (text) => [text];
  const inPiece = (piece: Part): readonly Part[] => {
    if (typeof piece === "number") return [piece];
    const text = normalized === null ? piece : normalized(piece);
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
