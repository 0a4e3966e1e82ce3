import { UserError } from "../errors.js";

/** Merges of a SentencePiece vocabulary, whose file has scores in their place. */

/** SentencePiece's own bound is 16. A longer token than this has more ways to be cut than a vocabulary means. */
const MAX_TOKEN = 64;

interface Merge {
  readonly pair: readonly [string, string];
  readonly score: number;
  /** characters of each */
  readonly lengths: readonly [number, number];
}

/**
 * The merges that scores imply, as transformers derives them: every way to cut a token into two others, the tokens with the
 * best scores first. Throws UserError if a token is too long. `where`: the file's name.
 */
export function mergesOfScores(
  ids: ReadonlyMap<string, number>,
  tokens: readonly string[],
  scores: ArrayLike<number>,
  where: string,
): (readonly [string, string])[] {
  const merges: Merge[] = [];
  for (const [index, token] of tokens.entries()) {
    const ways = cuts(ids, token, scores[index]!, where);
    ways.sort((a, b) => ids.get(a.pair[0])! - ids.get(b.pair[0])! || ids.get(a.pair[1])! - ids.get(b.pair[1])!);
    for (const way of ways) merges.push(way);
  }
  // the longer left part first, then the longer right part; equals keep their order
  merges.sort((a, b) => b.score - a.score || b.lengths[0] - a.lengths[0] || b.lengths[1] - a.lengths[1]);
  return merges.map(({ pair }) => pair);
}

/** The ways to cut a token into two others. */
function cuts(ids: ReadonlyMap<string, number>, token: string, score: number, where: string): Merge[] {
  const characters = token.length > 2 * MAX_TOKEN ? null : [...token];
  if (characters === null || characters.length > MAX_TOKEN)
    throw new UserError("a GGUF's vocabulary has a token that is too long for merges to be derived from scores", {
      file: where,
      limit: `${MAX_TOKEN} characters`,
      token: `${token.slice(0, 40)}…`,
    });
  const ways: Merge[] = [];
  let at = 0;
  for (let left = 1; left < characters.length; left++) {
    at += characters[left - 1]!.length;
    const pair = [token.slice(0, at), token.slice(at)] as const;
    if (ids.has(pair[0]) && ids.has(pair[1])) ways.push({ pair, score, lengths: [left, characters.length - left] });
  }
  return ways;
}
